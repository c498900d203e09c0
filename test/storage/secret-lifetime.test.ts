import sql, { raw, type Sql } from 'sql-template-tag'
import { expect, test } from 'vitest'
import { isAllowedExpiry, lifetimeOf, maxLifetime, passedReminder } from '../../src/storage/secret-lifetime.ts'
import { newApiKey } from '../api.ts'
import { rowsOf } from './changes.ts'

/** The SQL of expiries, on values beside their bounds. */

const DAY_MS = 86_400_000
const LATEST = 1_000_000_000_000

const resultOf = async (expression: Sql) => (await rowsOf(sql`SELECT ${expression} AS value`))[0]?.value

test('the maximum lifetime is that of the given environment, in milliseconds, and not of another one', async () => {
  const [first, second, unlimited] = [await newApiKey(), await newApiKey(), await newApiKey()]
  await rowsOf(sql`UPDATE environments SET max_lifetime_days = iif(id = ${first.environmentId}, 2, 3)
    WHERE id IN (${first.environmentId}, ${second.environmentId})`)
  for (const [{ environmentId }, lifetime] of [
    [first, 2 * DAY_MS],
    [second, 3 * DAY_MS],
    [unlimited, null],
  ] as const) {
    expect(await resultOf(maxLifetime(sql`${environmentId}`))).toBe(lifetime)
    const rows = await rowsOf(
      sql`SELECT ${lifetimeOf('environment')} AS value FROM environments AS environment WHERE id = ${environmentId}`,
    )
    expect(rows).toEqual([{ value: lifetime }])
  }
})

test.each([
  ['exactly a minute later', LATEST + 60_000, LATEST, 1],
  ['a millisecond more than a minute later', LATEST + 60_001, LATEST, 0],
  ['without a latest allowed time', LATEST, null, 1],
])('an expiry is allowed up to a minute after the latest allowed time: %s', async (_, expiry, latest, expected) => {
  expect(await resultOf(isAllowedExpiry(expiry, sql`${latest}`))).toBe(expected)
  expect(await resultOf(isAllowedExpiry(sql`${expiry}`, sql`${latest}`))).toBe(expected)
})

test('isAllowedExpiry allows a secret without an expiry', async () => {
  expect(await resultOf(isAllowedExpiry(sql`NULL`, sql`${LATEST}`))).toBe(1)
})

test.each([
  [0, 1],
  [DAY_MS, 1],
  [DAY_MS + 1, 7],
  [7 * DAY_MS, 7],
  [7 * DAY_MS + 1, 30],
  [30 * DAY_MS, 30],
  [30 * DAY_MS + 1, null],
])(
  'passedReminder at %i ms before an expiry returns %j, the days of the last reminder that was due',
  async (rest, days) => {
    expect(await resultOf(passedReminder(rest))).toBe(days)
    expect(await resultOf(passedReminder(raw(`${rest}`)))).toBe(days)
  },
)
