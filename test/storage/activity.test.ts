import { env } from 'cloudflare:workers'
import sql from 'sql-template-tag'
import { describe, expect, test } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { type ActivityFilter, findActivity, listActivity } from '../../src/storage/activity.ts'
import { newApiKey, operatorDatabase } from '../api.ts'
import { counted } from '../faults/wrapped.ts'
import { callerOf, type Key, rowsOf } from './changes.ts'

/** The events of an environment, beside those of another one. */

const NOW = Date.now()
const key = await newApiKey()
const other = await newApiKey()
const NONE = { limit: 10, after: null, type: null, actor: null, target: null, from: null, until: null }

/** An event with a name in its data, for each time. */
async function store({ id: callerId, environmentId }: Key, times: readonly number[], type = 'api_key.created') {
  const ids = times.map((time) => newId('event', time))
  for (const [i, id] of ids.entries())
    await rowsOf(sql`INSERT INTO events (seq, id, environment_id, type, data, caller_id, caller_name, actor_type, created_at)
      VALUES ((SELECT max(${Number(times[i]) * 1000}, coalesce(max(seq), 0) + 1) FROM events), ${id}, ${environmentId}, ${type},
        ${JSON.stringify({ id: callerId, name: `name ${i}` })}, ${callerId}, 'x', 'api_key', ${times[i]})`)
  return ids
}

// Alternately, so that the events of the other environment are between those of the first.
const ids: string[] = []
for (let i = 0; i < 5; i++) {
  ids.unshift(...(await store(key, [NOW + i])))
  await store(other, [NOW + i])
}
ids.unshift(...(await store(key, [NOW + 5], 'session.revoked')))

async function list(filter: Partial<ActivityFilter>, caller = key) {
  const result = await listActivity(operatorDatabase(), callerOf(caller), { ...NONE, ...filter })
  if (result.refused !== undefined) return result.refused
  return { ...result.granted, ids: result.granted.activities.map(({ event }) => event.id) }
}

describe('the pages of the activity list', () => {
  test.each([1, 2, 3, 6, 7])('the cursor leads through all events once, newest first, with limit %i', async (limit) => {
    const met: string[] = []
    for (let after: string | null = null, isEnd = false; !isEnd; ) {
      const page = await list({ limit, after })
      if (typeof page === 'string') throw new Error(page)
      expect(page.isPartial).toBe(false)
      expect(page.ids).toHaveLength(Math.min(limit, ids.length - met.length))
      met.push(...page.ids)
      after = page.next
      isEnd = after === null
      expect(isEnd).toBe(met.length === ids.length)
    }
    expect(met).toEqual(ids)
  })

  test('a cursor that is no event of the environment is refused', async () => {
    const [theirs] = await store(other, [NOW])
    for (const after of [theirs ?? '', 'event_unknown', '']) expect(await list({ after })).toBe('invalid_cursor')
  })

  test('a page names the API keys of the environment', async () => {
    expect(await list({})).toMatchObject({ keys: [{ id: key.id }] })
  })
})

test.each<[string, Partial<ActivityFilter>, string[]]>([
  ['by type', { type: 'session.revoked' }, ids.slice(0, 1)],
  ['by type, from a cursor', { type: 'api_key.created', after: ids[2] ?? '' }, ids.slice(3)],
  ['by the ID of an actor', { actor: key.id }, ids],
  ['by a kind of actor', { actor: 'api_key' }, ids],
  ['by an actor of another environment', { actor: other.id }, []],
  ['by an actor, from a cursor', { actor: key.id, after: ids[2] ?? '' }, ids.slice(3)],
  ['by a target', { target: key.id }, ids],
  ['by a target that is only a part of a value', { target: key.id.slice(1) }, []],
  ['by the start of a period, which it includes', { from: NOW + 4 }, ids.slice(0, 2)],
  ['by the end of a period, which it excludes', { until: NOW + 1 }, ids.slice(5)],
])('the activity list is filtered %s', async (_, filter, expected) => {
  expect(await list(filter)).toMatchObject({ ids: expected, next: null, isPartial: false })
})

test('a page without a filter reads few of the events', async () => {
  const many = await newApiKey()
  await rowsOf(sql`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO events (seq, id, environment_id, type, data, created_at)
    SELECT (SELECT max(seq) FROM events) + i, ${many.id} || i, ${many.environmentId}, 'api_key.created', '{}', 1 FROM n`)
  const counter = counted(env.DB)
  await listActivity(operatorDatabase(counter.database), callerOf(many), { ...NONE, limit: 2 })
  expect(counter.rowsRead).toBeLessThan(50)
})

test('a key with only the permission to read events can list and find them', async () => {
  const reader = await newApiKey({ permissions: ['events:read'] })
  const [id = ''] = await store(reader, [NOW])
  expect(await list({}, reader)).toMatchObject({ ids: [id] })
  expect(await findActivity(operatorDatabase(), callerOf(reader), id)).toMatchObject({ granted: { event: { id } } })
})

test('a key without the permission to read events can neither list nor find them', async () => {
  const limited = await newApiKey({ environmentId: key.environmentId, permissions: ['secrets:verify'] })
  expect(await list({}, limited)).toBe('forbidden')
  expect(await findActivity(operatorDatabase(), callerOf(limited), ids[0] ?? '')).toMatchObject({
    refused: 'forbidden',
  })
})

test('an event is found by its ID, only in its environment', async () => {
  const [id = ''] = ids
  const found = (caller: Key, event = id) => findActivity(operatorDatabase(), callerOf(caller), event)
  expect(await found(key)).toMatchObject({
    granted: { event: { id, type: 'session.revoked', apiKey: { id: key.id } }, applicationName: null, before: null },
  })
  expect(await found(other)).toMatchObject({ refused: 'entity_not_found' })
  expect(await found(key, 'event_unknown')).toMatchObject({ refused: 'entity_not_found' })
})
