import { env } from 'cloudflare:workers'
import sql from 'sql-template-tag'
import { beforeAll, describe, expect, test } from 'vitest'
import { sha256 } from '../../src/credential/digest.ts'
import { newId } from '../../src/credential/id.ts'
import type { Caller, Change, Permission } from '../../src/storage/caller.ts'
import { scopeOf } from '../../src/storage/caller-conditions.ts'
import { sendBatch } from '../../src/storage/database.ts'
import {
  allOf,
  BY_APPLICATION,
  countApplications,
  insert,
  insertInto,
  insertRecord,
  limitTo,
  type Statement,
  select,
  selectCaller,
  selectFromFirst,
  selectSorted,
  touchCaller,
  update,
  updateDependent,
  updateEach,
  updateEnvironment,
  updateUnstamped,
} from '../../src/storage/statements.ts'
import { newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { storeSecrets } from '../connect/inventory-rows.ts'
import { callerOf, changeBy, type Key, rowsOf, tooLate } from './changes.ts'

/** Each statement on rows of the caller's environment, beside those of another one. */

const NOW = Date.now()
const MINUTE_MS = 60_000

async function send<Row>(statement: Statement<Row>): Promise<Record<string, unknown>[]> {
  const { rows } = await sendBatch(operatorDatabase(), { rows: statement })
  return rows as Record<string, unknown>[]
}

/** An environment with an application, whose secrets have these names. */
async function tenant(...names: string[]) {
  const key = await newApiKey()
  const { id: applicationId } = await newApplication(key.apiKey)
  const rows = names.map((name, i) => ({ createdAt: NOW - 1000 + i, name }))
  const ids = await storeSecrets(key.environmentId, applicationId, rows)
  return { key, caller: callerOf(key), applicationId, ids, id: ids[0] ?? '' }
}

const namesOf = async ({ environmentId }: Key) =>
  (
    await rowsOf<{ name: string }>(
      sql`SELECT name FROM client_secrets WHERE environment_id = ${environmentId} ORDER BY id`,
    )
  ).map(({ name }) => name)

/** Stores the event of a change, as if it had been made. */
async function record({ environmentId }: Key, { eventId }: Change, type = 'x'): Promise<void> {
  await rowsOf(sql`INSERT INTO events (environment_id, id, type, data, created_at)
    VALUES (${environmentId}, ${eventId}, ${type}, '{}', ${NOW})`)
}

const narrowKey = async ({ environmentId }: Key, permission: Permission) =>
  callerOf(await newApiKey({ environmentId, access: 'read', permissions: [permission] }))

const renamed = [sql`name = 'new'`]

describe('the permission that a statement needs', () => {
  let key: Key
  const callers = new Map<string, Caller>()

  beforeAll(async () => {
    const owner = await tenant('old')
    key = owner.key
    const { environmentId, id } = key
    const session = await sha256(`session of ${id}`)
    const [endpointId, eventId] = [newId('we', NOW), newId('event', NOW)]
    const change = changeBy(owner.caller, NOW)
    await record(key, change)
    const digest = await sha256(`record of ${id}`)
    await send(
      insertRecord(change, { digest, request_digest: digest, salt: digest, secret_prefix: 'x' }, NOW - MINUTE_MS),
    )
    await env.DB.batch([
      env.DB.prepare(
        `INSERT INTO sessions (environment_id, id, api_key_id, digest, created_at, last_used_at) VALUES (?, ?, ?, ?, 1, 1)`,
      ).bind(environmentId, newId('session', NOW), id, session),
      env.DB.prepare(
        `INSERT INTO webhook_endpoints (environment_id, id, url, events, secret, cursor, created_at) VALUES (?, ?, 'x', '[]', 'x', 0, 1)`,
      ).bind(environmentId, endpointId),
      env.DB.prepare(
        `INSERT INTO webhook_deliveries (environment_id, endpoint_id, event_id, state, attempts, next_attempt_at, created_at)
         VALUES (?, ?, ?, 'pending', 0, 0, 1)`,
      ).bind(environmentId, endpointId, eventId),
    ])
    callers.set('write', owner.caller)
    callers.set('read', callerOf(await newApiKey({ environmentId, access: 'read' })))
    for (const permission of ['applications:write', 'secrets:write', 'secrets:verify', 'events:read'] as const)
      callers.set(permission, await narrowKey(key, permission))
  })

  const OF_SECRETS = ['write', 'read', 'applications:write', 'secrets:write']
  test.each([
    ['applications', OF_SECRETS],
    ['client_secrets', OF_SECRETS],
    [BY_APPLICATION, OF_SECRETS],
    ['events', ['write', 'read', 'events:read']],
    ['idempotency_records', ['write', 'read']],
    ['api_keys', ['write', 'read']],
    ['sessions', ['write', 'read']],
    ['webhook_endpoints', ['write', 'read']],
    ['webhook_deliveries', ['write', 'read']],
  ] as const)('the keys that can read rows of %s are those with %j', async (table, allowed) => {
    const found: string[] = []
    for (const [right, caller] of callers) {
      const rows = await send(select(caller, sql`1`, table, sql`true`))
      expect((await send(selectFromFirst(caller, sql`1`, table, sql`true`, sql``))).length).toBe(rows.length)
      if (rows.length > 0) found.push(right)
    }
    expect(found).toEqual(allowed)
  })

  test.each([
    ['applications', ['write', 'applications:write']],
    ['client_secrets', ['write', 'secrets:write']],
    [BY_APPLICATION, ['write', 'secrets:write']],
  ] as const)('the keys that can update rows of %s are those with %j', async (table, allowed) => {
    const made: string[] = []
    for (const [right, caller] of callers) {
      const change = changeBy(caller, NOW)
      await send(update(operatorDatabase(), change, table, renamed, sql`true`))
      const changed = await send(select(callerOf(key), sql`1`, table, sql`event_id = ${change.eventId}`))
      if (changed.length > 0) made.push(right)
    }
    expect(made).toEqual(allowed)
  })

  test('a key with secrets:write can insert a secret and update several secrets, and a key with applications:write cannot', async () => {
    const { key, applicationId, id } = await tenant('old')
    const inserted = async (caller: Caller) => {
      const change = changeBy(caller, NOW)
      const row = {
        id: newId('secret', NOW),
        application_id: applicationId,
        digest: sql`randomblob(32)`,
        secret_hint: 'x',
      }
      await send(insert(operatorDatabase(), change, 'client_secrets', row, sql``, sql`true`))
      await send(
        updateEach(operatorDatabase(), change, JSON.stringify({ [id]: change.eventId }), sql`name = 'new'`, sql`true`),
      )
      const rows = await rowsOf(sql`SELECT id FROM client_secrets WHERE event_id = ${change.eventId} ORDER BY id`)
      return rows.map((found) => (found.id === id ? 'changed' : 'inserted'))
    }
    expect(await inserted(await narrowKey(key, 'secrets:write'))).toEqual(['changed', 'inserted'])
    expect(await inserted(await narrowKey(key, 'applications:write'))).toEqual([])
  })

  test('a key with applications:write can change the count of applications, and a key with secrets:write cannot', async () => {
    const { key, applicationId } = await tenant()
    const count = async (caller: Caller) => {
      const change = changeBy(caller, NOW)
      await rowsOf(sql`UPDATE applications SET event_id = ${change.eventId} WHERE id = ${applicationId}`)
      await send(countApplications(change, 1, sql`applications.id = ${applicationId}`))
      const [row] = await rowsOf(sql`SELECT application_count FROM environments WHERE id = ${key.environmentId}`)
      return row?.application_count
    }
    expect(await count(await narrowKey(key, 'secrets:write'))).toBe(1)
    expect(await count(await narrowKey(key, 'applications:write'))).toBe(2)
  })

  test('a key with write access can update the environment, and keys with fewer permissions cannot', async () => {
    const { key } = await tenant()
    const changed = async (caller: Caller) => {
      const change = changeBy(caller, NOW)
      await record(key, change)
      await send(updateEnvironment(change, sql`name = ${change.eventId}`))
      return (await rowsOf(sql`SELECT 1 FROM environments WHERE name = ${change.eventId}`)).length === 1
    }
    const reader = await newApiKey({ environmentId: key.environmentId, access: 'read' })
    for (const caller of [await narrowKey(key, 'applications:write'), callerOf(reader)])
      expect(await changed(caller)).toBe(false)
    expect(await changed(callerOf(key))).toBe(true)
  })
})

describe('reading', () => {
  test('selectCaller returns the caller with the joined rows of the caller’s environment, and nothing for an unknown caller', async () => {
    const { key, caller, id } = await tenant('a', 'b')
    await tenant('c')
    const joined = sql`JOIN client_secrets ON client_secrets.environment_id = caller.environment_id AND client_secrets.id = ${id}`
    expect(await send(selectCaller(caller, sql`caller.id AS caller, client_secrets.name`, joined))).toEqual([
      { caller: key.id, name: 'a' },
    ])
    expect(await send(selectCaller(callerOf({ digest: await sha256('unknown') }), sql`1`, sql``))).toEqual([])
  })

  test('the select functions return the rows of the caller’s environment that match the condition, in order', async () => {
    const { caller } = await tenant('a', 'b', 'c')
    await tenant('a', 'b')
    const [notA, descending] = [sql`name <> 'a' OR false`, sql`ORDER BY name DESC`]
    expect(await send(select(caller, sql`name`, 'client_secrets', notA, descending))).toEqual([
      { name: 'c' },
      { name: 'b' },
    ])
    const first = sql`true ORDER BY name ${limitTo(2)}`
    expect(await send(selectFromFirst(caller, sql`name`, 'client_secrets', first, descending))).toEqual([
      { name: 'b' },
      { name: 'a' },
    ])
    expect(await send(selectSorted(caller, sql`name`, 'client_secrets', first, descending))).toEqual([
      { name: 'b' },
      { name: 'a' },
    ])
  })
})

describe('updating', () => {
  test('an update changes the rows that match its condition, once, and not after the deadline', async () => {
    const { key, caller } = await tenant('a', 'b')
    const other = await tenant('a')
    const change = changeBy(caller, NOW)
    const where = sql`name = 'a' OR name = 'x'`
    await tooLate((database) => send(update(database, change, 'client_secrets', renamed, where)))
    expect(await namesOf(key)).toEqual(['a', 'b'])
    await send(update(operatorDatabase(), change, 'client_secrets', renamed, where))
    expect([await namesOf(key), await namesOf(other.key)]).toEqual([['new', 'b'], ['a']])
    await record(key, change)
    await send(update(operatorDatabase(), change, 'client_secrets', renamed, sql`true`))
    expect(await namesOf(key)).toEqual(['new', 'b'])
  })

  test('a dependent update changes the rows that match its condition, once', async () => {
    const { key, caller } = await tenant('a', 'b')
    const other = await tenant('a')
    const change = changeBy(caller, NOW)
    await send(updateDependent(change, 'secrets:write', BY_APPLICATION, renamed, sql`name = 'a' OR name = 'x'`))
    expect([await namesOf(key), await namesOf(other.key)]).toEqual([['new', 'b'], ['a']])
    await record(key, change)
    await send(updateDependent(change, 'secrets:write', BY_APPLICATION, renamed, sql`true`))
    expect(await namesOf(key)).toEqual(['new', 'b'])
  })

  test.each(['client_secrets', BY_APPLICATION] as const)(
    'an update of %s stores the ID of its event and its time in the row',
    async (table) => {
      const { caller, id } = await tenant('a')
      const change = changeBy(caller, NOW)
      await send(update(operatorDatabase(), change, table, renamed, sql`true`))
      const [row] = await rowsOf(sql`SELECT history, updated_at, event_id FROM client_secrets WHERE id = ${id}`)
      expect(row).toEqual({
        history: JSON.stringify(['event_x', change.eventId]),
        updated_at: NOW,
        event_id: change.eventId,
      })
    },
  )

  test('updateEach changes each listed row that matches its condition, once, and not after the deadline', async () => {
    const { key, caller, ids } = await tenant('a', 'b', 'c', 'd')
    const other = await tenant('a')
    const change = changeBy(caller, NOW)
    const [a = '', b = '', c = ''] = ids
    const events = [a, b, c, other.id].map((id) => [id, newId('event', NOW)] as const)
    const items = JSON.stringify(Object.fromEntries(events))
    const statement = (database = operatorDatabase()) =>
      updateEach(database, change, items, sql`name = name || '.'`, sql`name <> 'b' OR false`)
    await tooLate((database) => send(statement(database)))
    expect(await namesOf(key)).toEqual(['a', 'b', 'c', 'd'])
    await record(key, { ...change, eventId: events[2]?.[1] ?? '' })
    await send(statement())
    expect([await namesOf(key), await namesOf(other.key)]).toEqual([['a.', 'b', 'c', 'd'], ['a']])
    const [row] = await rowsOf(sql`SELECT history, updated_at, event_id FROM client_secrets WHERE id = ${a}`)
    const eventId = events[0]?.[1]
    expect(row).toEqual({ history: JSON.stringify(['event_x', eventId]), updated_at: NOW, event_id: eventId })
  })

  test('an environment is updated only by its latest event, and no other environment is updated', async () => {
    const { key, caller } = await tenant()
    const other = await tenant()
    const [first, second] = [changeBy(caller, NOW), changeBy(caller, NOW)]
    const changed = async (change: Change) => {
      await send(updateEnvironment(change, sql`name = ${change.eventId}`))
      const rows = await rowsOf(sql`SELECT id FROM environments WHERE name = ${change.eventId}`)
      return rows.map(({ id }) => id)
    }
    expect(await changed(first)).toEqual([])
    await record(key, first, 'environment.updated')
    expect(await changed(first)).toEqual([key.environmentId])
    await record(other.key, { ...second, eventId: newId('event', NOW) }, 'environment.updated')
    await record(key, second, 'environment.updated')
    await rowsOf(sql`UPDATE environments SET name = 'x' WHERE id = ${key.environmentId}`)
    expect(await changed(first)).toEqual([])
  })

  test('an application is counted once, and only if the change was made to this application', async () => {
    const { key, caller, applicationId } = await tenant()
    const { id: another } = await newApplication(key.apiKey)
    const stranger = await tenant()
    const change = changeBy(caller, NOW)
    const countOf = async ({ environmentId }: Key) =>
      (await rowsOf(sql`SELECT application_count FROM environments WHERE id = ${environmentId}`))[0]?.application_count
    const count = async (difference: 1 | -1, id: string) => {
      await send(countApplications(change, difference, sql`applications.id = ${id}`))
      return countOf(key)
    }
    expect(await count(1, applicationId)).toBe(2)
    for (const id of [applicationId, stranger.applicationId])
      await rowsOf(sql`UPDATE applications SET event_id = ${change.eventId} WHERE id = ${id}`)
    expect(await count(1, another)).toBe(2)
    expect(await count(1, applicationId)).toBe(3)
    expect(await count(-1, applicationId)).toBe(2)
    expect(await countOf(stranger.key)).toBe(1)
    await record(key, change)
    expect(await count(1, applicationId)).toBe(2)
  })

  test('updateUnstamped changes the rows that match its condition, returns a row for each, and changes none after the deadline', async () => {
    const { key, caller } = await tenant('a', 'b', 'c')
    const other = await tenant('a')
    const set = sql`name = name || '.'`
    const where = sql`name = 'a' OR name = 'b'`
    const late = await tooLate((database) =>
      send(updateUnstamped(caller, 'secrets:write', 'client_secrets', set, where, database)),
    )
    expect(late).toEqual([])
    const changed = await send(
      updateUnstamped(caller, 'secrets:write', 'client_secrets', set, where, operatorDatabase()),
    )
    expect(changed).toEqual([{ 1: 1 }, { 1: 1 }])
    expect([await namesOf(key), await namesOf(other.key)]).toEqual([['a.', 'b.', 'c'], ['a']])
    const [needs, dependent] = ['secrets:write', sql`name = 'c'`] as const
    await tooLate(() => send(updateUnstamped(caller, needs, 'client_secrets', set, dependent)))
    expect(await namesOf(key)).toEqual(['a.', 'b.', 'c.'])
  })
})

describe('inserting', () => {
  test('a row is inserted once, if a joined row matches the condition, and not after the deadline', async () => {
    const { key, caller, applicationId } = await tenant()
    await tenant()
    const change = changeBy(caller, NOW)
    const row = (name: string) => ({
      id: `secret_${name}_${key.id}`,
      application_id: sql`applications.id`,
      digest: sql`randomblob(32)`,
      secret_hint: 'abcdef',
      name,
    })
    const joined = sql`JOIN applications ON applications.environment_id = caller.environment_id`
    const add = (name: string, where = sql`true`, database = operatorDatabase()) =>
      send(insert(database, change, 'client_secrets', row(name), joined, where))
    await tooLate((database) => add('late', sql`true`, database))
    await add('not selected', sql`false`)
    for (let i = 0; i < 2; i++) await add('once')
    expect(await namesOf(key)).toEqual(['once'])
    const [stored] = await rowsOf(
      sql`SELECT application_id, created_at, updated_at, event_id FROM client_secrets WHERE environment_id = ${key.environmentId}`,
    )
    expect(stored).toEqual({
      application_id: applicationId,
      created_at: NOW,
      updated_at: NOW,
      event_id: change.eventId,
    })
  })

  test('a row is inserted for the caller itself if nothing is joined', async () => {
    const key = await newApiKey()
    const row = { id: newId('event', NOW), type: 'x', data: '{}', created_at: NOW }
    await send(insertInto('events', row, scopeOf(callerOf(key), null)))
    expect(await rowsOf(sql`SELECT id, type FROM events WHERE environment_id = ${key.environmentId}`)).toEqual([
      { id: row.id, type: 'x' },
    ])
  })

  test('the record of an Idempotency-Key is stored only if its change was made', async () => {
    const key = await newApiKey()
    const change = changeBy(callerOf(key), NOW)
    const digest = await sha256(key.id)
    const row = { digest, request_digest: digest, salt: digest, secret_prefix: 'x' }
    const stored = async () => {
      await send(insertRecord(change, row, NOW - MINUTE_MS))
      return rowsOf(sql`SELECT secret_prefix, event_id, created_at FROM idempotency_records
        WHERE environment_id = ${key.environmentId}`)
    }
    expect(await stored()).toEqual([])
    await record(key, change)
    expect(await stored()).toEqual([{ secret_prefix: 'x', event_id: change.eventId, created_at: NOW }])
  })
})

test.each([
  ['a moment after', 1, 'first'],
  ['at', 0, 'second'],
  ['before', -1, 'second'],
])(
  'a record of an Idempotency-Key is replaced if it is stale, and kept otherwise: stored %s the time limit',
  async (_, ms, prefix) => {
    const key = await newApiKey()
    const digest = await sha256(key.id)
    const store = async (now: number, secret_prefix: string) => {
      const change = changeBy(callerOf(key), now)
      await record(key, change)
      await send(insertRecord(change, { digest, request_digest: digest, salt: digest, secret_prefix }, NOW))
    }
    await store(NOW + ms, 'first')
    await store(NOW + MINUTE_MS, 'second')
    const rows = await rowsOf(sql`SELECT secret_prefix FROM idempotency_records WHERE digest = ${digest}`)
    expect(rows).toEqual([{ secret_prefix: prefix }])
  },
)

describe('the last use of a caller', () => {
  test('the last use of an API key is set if the key is active and the last use is at least a minute ago', async () => {
    const key = await newApiKey()
    const other = await newApiKey({ environmentId: key.environmentId })
    const usedAt = async ({ id }: Key) =>
      (await rowsOf(sql`SELECT last_used_at FROM api_keys WHERE id = ${id}`))[0]?.last_used_at
    const touch = (caller: Caller, now: number) => send(touchCaller(operatorDatabase(), caller, now))
    await tooLate((database) => send(touchCaller(database, callerOf(key), NOW)))
    expect(await usedAt(key)).toBeNull()
    await touch(callerOf(key), NOW)
    await touch(callerOf(key), NOW + 1)
    expect([await usedAt(key), await usedAt(other)]).toEqual([NOW, null])
    await touch({ ...callerOf(key), apiKeyId: other.id }, NOW + MINUTE_MS)
    expect([await usedAt(key), await usedAt(other)]).toEqual([NOW, NOW + MINUTE_MS])
    await rowsOf(sql`UPDATE api_keys SET revoked_at = 1 WHERE id = ${key.id}`)
    await touch(callerOf(key), NOW + 2 * MINUTE_MS)
    expect(await usedAt(key)).toBe(NOW)
  })

  test('the last use of an active session is set at most once a minute, and the last use of its API key is not set', async () => {
    const key = await newApiKey()
    const digest = await sha256(key.id)
    const caller: Caller = { kind: 'session', digest }
    const store = (name: string, of: typeof digest) =>
      rowsOf(sql`INSERT INTO sessions (environment_id, id, api_key_id, digest, created_at, last_used_at)
        VALUES (${key.environmentId}, ${name + key.id}, ${key.id}, ${of}, ${NOW}, ${NOW - MINUTE_MS})`)
    await store('a', digest)
    await store('b', await sha256(`another of ${key.id}`))
    const uses = async () => [
      ...(await rowsOf(sql`SELECT last_used_at FROM sessions WHERE environment_id = ${key.environmentId} ORDER BY id`)),
      ...(await rowsOf(sql`SELECT last_used_at FROM api_keys WHERE id = ${key.id}`)),
    ]
    const usesOf = (own: number) => [own, NOW - MINUTE_MS, null].map((last_used_at) => ({ last_used_at }))
    for (const now of [NOW, NOW + 1]) await send(touchCaller(operatorDatabase(), caller, now))
    expect(await uses()).toEqual(usesOf(NOW))
    await rowsOf(sql`UPDATE sessions SET ended_at = ${NOW} WHERE digest = ${digest}`)
    await send(touchCaller(operatorDatabase(), caller, NOW + MINUTE_MS))
    expect(await uses()).toEqual(usesOf(NOW))
  })
})

test.each([
  [[], 1],
  [[sql`true`], 1],
  [[sql`true`, sql`false`], 0],
  [[sql`true`, sql`true`, sql`true`], 1],
])('allOf is true only if all of its conditions are true: %j', async (conditions, expected) => {
  expect(await rowsOf(sql`SELECT 1 WHERE ${allOf(conditions)}`)).toHaveLength(expected)
})
