import { expect, test } from 'vitest'
import { sqlMutations } from '../mutation/sql.ts'

test.each([
  ['a AND b', ['a OR b']],
  ['ended_at IS NOT NULL', ['ended_at IS NULL']],
  ['WHERE NOT EXISTS (SELECT 1)', ['WHERE EXISTS (SELECT 1)']],
  ['SELECT 1 FROM a WHERE a.digest = ', ['SELECT 1 FROM a WHERE a.digest <> ']],
  ['UPDATE a SET b = 1, c = 2', []],
  ['expires_at <= 5', ['expires_at < 5']],
  ['INSERT OR IGNORE INTO a', []],
  ['INSERT INTO a SELECT 1 ON CONFLICT DO NOTHING', ['INSERT INTO a SELECT 1 ']],
])('sqlMutations returns the mutations of %s', (sql, expected) => {
  expect(sqlMutations(sql)).toEqual(expected)
})
