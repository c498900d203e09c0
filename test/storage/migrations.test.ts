import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { NEWEST_MIGRATION } from '../../src/storage/migrations.ts'

test('the newest migration that the Worker asks for is the newest file', () => {
  expect(NEWEST_MIGRATION).toBe(env.MIGRATIONS.map(({ name }) => name).at(-1))
})
