import { env } from 'cloudflare:workers'
import sql, { type Sql } from 'sql-template-tag'
import { expect, test } from 'vitest'
import { sha256 } from '../../src/credential/digest.ts'
import { newId } from '../../src/credential/id.ts'
import type { Change } from '../../src/storage/caller.ts'
import {
  joinOriginal,
  type KeyedRequest,
  keyUnused,
  type OriginalRow,
  originalColumns,
  readOriginal,
  rememberRequest,
} from '../../src/storage/idempotency.ts'
import { newApiKey } from '../api.ts'

/** The record of a request with an Idempotency-Key, on rows that differ in one column. */

const HOUR_MS = 3_600_000
const NOW = 1_800_000_000_000

type Key = Awaited<ReturnType<typeof newApiKey>>

async function send(query: Sql): Promise<unknown[]> {
  const { results } = await env.DB.prepare(query.sql)
    .bind(...query.values)
    .all()
  return results
}

const changeOf = ({ digest }: Key): Change => ({
  caller: { kind: 'api_key', digest },
  eventId: newId('event', NOW),
  requestId: 'r',
  now: NOW,
  origin: null,
})

const newRequest = async (name: string = crypto.randomUUID()): Promise<KeyedRequest> => ({
  digest: await sha256(`key ${name}`),
  requestDigest: await sha256(`request ${name}`),
  salt: await sha256(`salt ${name}`),
  prefix: `prefix_${name}`,
})

/** Stores the event of a creation. */
async function record({ environmentId }: Key, { eventId }: Change): Promise<void> {
  await send(sql`INSERT INTO events (environment_id, id, type, data, created_at)
    VALUES (${environmentId}, ${eventId}, 'x', ${JSON.stringify({ of: eventId })}, ${NOW})`)
}

/** Stores the event of a creation and the record of its request. */
async function create(key: Key, change: Change, request: KeyedRequest): Promise<void> {
  await record(key, change)
  await send(rememberRequest(change, request).sql)
}

const callerOf = ({ environmentId }: Key) => sql`(SELECT ${environmentId} AS environment_id) AS caller`

async function isUnused(key: Key, change: Change, request: KeyedRequest | null): Promise<boolean> {
  return (await send(sql`SELECT 1 FROM ${callerOf(key)} WHERE ${keyUnused(change, request)}`)).length === 1
}

async function originalOf(key: Key, change: Change, request: KeyedRequest | null) {
  const [row] = await send(
    sql`SELECT ${originalColumns(request)} FROM ${callerOf(key)} ${joinOriginal(change, request)}`,
  )
  return readOriginal(row as OriginalRow, change, request)
}

test('a request that is sent again within an hour is a replay of the first one', async () => {
  const key = await newApiKey()
  const [first, again, request] = [changeOf(key), changeOf(key), await newRequest()]
  expect(await isUnused(key, first, request)).toBe(true)
  expect(await originalOf(key, first, request)).toBeNull()
  await create(key, first, request)
  expect(await isUnused(key, again, request)).toBe(false)
  const data = { of: first.eventId }
  expect(await originalOf(key, first, request)).toEqual({ granted: { data, replayedFrom: null } })
  const replayedFrom = { salt: request.salt, prefix: request.prefix }
  expect(await originalOf(key, again, request)).toEqual({ granted: { data, replayedFrom } })
})

test.each([
  ['a moment less than an hour later', NOW + HOUR_MS - 1, false],
  ['an hour later', NOW + HOUR_MS, true],
])('an Idempotency-Key can be used for a new request after an hour, and no sooner: %s', async (_, now, expected) => {
  const key = await newApiKey()
  const request = await newRequest()
  await create(key, changeOf(key), request)
  const later = { ...changeOf(key), now }
  expect(await isUnused(key, later, request)).toBe(expected)
  expect((await originalOf(key, later, request)) === null).toBe(expected)
  await create(key, later, { ...request, salt: await sha256('later') })
  const { granted } = (await originalOf(key, { ...changeOf(key), now }, request)) as { granted: { data: unknown } }
  expect(granted.data).toEqual(expected ? { of: later.eventId } : { of: expect.not.stringContaining(later.eventId) })
})

test('another request with the same Idempotency-Key is refused', async () => {
  const key = await newApiKey()
  const request = await newRequest()
  await create(key, changeOf(key), request)
  const other = { ...request, requestDigest: await sha256('another request') }
  expect(await originalOf(key, changeOf(key), other)).toEqual({ refused: 'idempotency_key_reused' })
})

test('a record is not found for another Idempotency-Key, another API key, or a request without an Idempotency-Key', async () => {
  const key = await newApiKey()
  const stranger = await newApiKey()
  const request = await newRequest()
  await create(key, changeOf(key), request)
  for (const [who, asked] of [
    [key, await newRequest()],
    [stranger, request],
    [key, null],
  ] as const) {
    expect(await isUnused(who, changeOf(who), asked)).toBe(true)
    expect(await originalOf(who, changeOf(who), asked)).toBeNull()
  }
})

test('a record does not return an event of another environment', async () => {
  const key = await newApiKey()
  const stranger = await newApiKey()
  const [change, request] = [changeOf(key), await newRequest()]
  await create(key, change, request)
  await send(sql`UPDATE events SET environment_id = ${stranger.environmentId} WHERE id = ${change.eventId}`)
  expect(await originalOf(key, changeOf(key), request)).toBeNull()
})

test('the original event of a change without an Idempotency-Key is its own event', async () => {
  const key = await newApiKey()
  const change = changeOf(key)
  await record(key, changeOf(key))
  expect(await originalOf(key, change, null)).toBeNull()
  await record(key, change)
  expect(await originalOf(key, change, null)).toEqual({ granted: { data: { of: change.eventId }, replayedFrom: null } })
})
