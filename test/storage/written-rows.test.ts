import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { type Call, call, newApiKey, newApplication } from '../api.ts'
import { counted } from '../faults/wrapped.ts'
import { iso, secretsOf } from '../requests.ts'

/** D1 charges for each row of a table or an index that is written: the prices in README hold for these numbers. */

const { apiKey } = await newApiKey()
const { id } = await newApplication(apiKey)
const expires_at = iso(Date.now() + 86_400_000)
const late = iso(Date.now() + 2 * 86_400_000)

/** Rows written before the answer, and after it. */
async function written(method: string, path: string, request: Call = {}) {
  const counter = counted(env.DB)
  let before = 0
  const onAnswer = () => {
    before = counter.rowsWritten
  }
  await call(apiKey, method, path, { ...request, bindings: { DB: counter.database }, onAnswer })
  return [before, counter.rowsWritten - before]
}

describe('the rows that a create of a secret writes', () => {
  test.each<[string, Call, number]>([
    ['9 rows', {}, 9],
    ['10 rows if the secret expires', { body: { expires_at } }, 10],
    ['11 rows if the secret expires so late that a reminder is due first', { body: { expires_at: late } }, 11],
    ['11 rows with an Idempotency-Key', { headers: { 'Idempotency-Key': 'a' } }, 11],
    [
      '12 rows with an Idempotency-Key if the secret expires',
      { body: { expires_at }, headers: { 'Idempotency-Key': 'b' } },
      12,
    ],
  ])('a create of a secret writes %s', async (_, request, rows) => {
    await call(apiKey, 'DELETE', secretsOf(id))
    expect(await written('POST', secretsOf(id), request)).toEqual([rows, 0])
  })
})

test('a use of a secret writes one row, after the response', async () => {
  const { json } = await call(apiKey, 'POST', secretsOf(id))
  const body = { client_secret: json.secret }
  expect(await written('POST', '/connect/client_secrets/verify', { body })).toEqual([0, 1])
})
