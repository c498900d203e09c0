import { expect, inject, test } from 'vitest'
import { findPlaintexts } from '../plaintext/run.ts'
import { seed, size } from '../sizes.ts'

test('no plaintext of a secret is in a database file, log, event or webhook, or in a response that does not issue the secret', async () => {
  const { issued, problems } = await findPlaintexts({ script: inject('bundle').script, secrets: size(60, 5_000), seed })
  expect(problems).toEqual([])
  for (const [way, count] of Object.entries(issued)) expect(count, way).toBeGreaterThan(0)
})
