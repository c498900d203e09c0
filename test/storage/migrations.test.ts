import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { SCHEMA_VERSION } from '../../src/storage/migrations.ts'

test('the newest migration that the Worker asks for is the newest file', () => {
  expect(SCHEMA_VERSION).toBe(Number.parseInt(env.MIGRATIONS.at(-1)?.name ?? '', 10))
})
