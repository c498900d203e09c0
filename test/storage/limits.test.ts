import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { sha256 } from '../../src/credential/digest.ts'
import { newId } from '../../src/credential/id.ts'
import { listApplications } from '../../src/storage/applications.ts'
import { StorageUnavailable, sendBatch } from '../../src/storage/database.ts'
import { requireCurrentSchema, SCHEMA_VERSION } from '../../src/storage/migrations.ts'
import { listCallers, startSession } from '../../src/storage/sessions.ts'
import { insertSession } from '../../src/storage/statements.ts'
import { call, m2mApplication, newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { counted, withBatch } from '../faults/wrapped.ts'

const callerOf = ({ digest }: Awaited<ReturnType<typeof newApiKey>>) => ({ kind: 'api_key' as const, digest })

const changeOf = (key: Awaited<ReturnType<typeof newApiKey>>, now: number) => ({
  caller: callerOf(key),
  eventId: newId('event', now),
  requestId: crypto.randomUUID(),
  now,
  origin: null,
})

describe('applications', () => {
  test('an environment at its limit refuses another application until one is deleted', async () => {
    const { apiKey } = await newApiKey()
    const bindings = { MAX_APPLICATIONS_PER_ENVIRONMENT: 2 }
    const create = () => call(apiKey, 'POST', '/connect/applications', { body: m2mApplication, bindings })
    const { id } = (await create()).json
    expect((await create()).status).toBe(201)
    const { status, json } = await create()
    expect([status, json.code]).toEqual([422, 'application_limit_reached'])
    for (let i = 0; i < 2; i++) await call(apiKey, 'DELETE', `/connect/applications/${id}`)
    expect((await create()).status).toBe(201)
    expect((await create()).json.code).toBe('application_limit_reached')
  })

  test('an application is counted once although the reply to its create was lost', async () => {
    const { apiKey, environmentId } = await newApiKey()
    let tries = 0
    const DB = withBatch(env.DB, async (real, statements) => {
      const results = await real(statements)
      if (tries++ === 0) throw new Error('D1_ERROR: Network connection lost.')
      return results
    })
    expect(
      (await call(apiKey, 'POST', '/connect/applications', { body: m2mApplication, bindings: { DB } })).status,
    ).toBe(201)
    const counting = env.DB.prepare('SELECT application_count FROM environments WHERE id = ?').bind(environmentId)
    expect(await counting.first('application_count')).toBe(1)
  })

  test('a search reads a bounded number of applications, and its cursor leads to the rest', async () => {
    const key = await newApiKey()
    const { id } = await newApplication(key.apiKey, { ...m2mApplication, name: 'Needle' })
    await env.DB.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
       INSERT INTO applications SELECT environment_id, 'conn_app_Z' || printf('%06d', i), 'client_Z' || i, application_type, 'Hay',
         description, scopes, organization_id, redirect_uris, uses_pkce, is_first_party, created_at, updated_at, deleted_at, event_id
       FROM applications, n WHERE id = ?`,
    )
      .bind(id)
      .run()
    const counter = counted(env.DB)
    const search = async (after: string | null) => {
      const cursor = after === null ? null : { id: after, side: 'after' as const }
      const options = { limit: 10, order: 'desc' as const, cursor, organizationId: null, search: 'needle' }
      const outcome = await listApplications(operatorDatabase(counter.database), callerOf(key), options)
      return outcome.refused === undefined ? outcome.granted : expect.unreachable()
    }
    const first = await search(null)
    expect(first.items).toEqual([])
    expect(counter.rowsRead).toBeLessThan(20_000)
    expect((await search(first.after)).items).toMatchObject([{ id, name: 'Needle' }])
  })
})

describe('sessions', () => {
  const start = async (
    key: Awaited<ReturnType<typeof newApiKey>>,
    credential: string,
    replaces: string | null = null,
  ) => {
    const now = Date.now()
    const session = { id: newId('session', now), digest: await sha256(credential), createdAt: now }
    const replaced = replaces === null ? null : await sha256(replaces)
    await startSession(operatorDatabase(), changeOf(key, now), session, replaced)
    return session.id
  }
  const activeOf = async (key: Awaited<ReturnType<typeof newApiKey>>) => {
    const outcome = await listCallers(operatorDatabase(), callerOf(key))
    return outcome.refused === undefined ? outcome.granted.sessions.map(({ id }) => id) : expect.unreachable()
  }

  test('when an API key has ten sessions, a new sign-in ends the oldest session', async () => {
    const key = await newApiKey()
    const ids: string[] = []
    for (let i = 0; i < 12; i++) {
      ids.push(await start(key, `many ${i}`))
      await env.DB.prepare('UPDATE sessions SET created_at = created_at - ? WHERE id = ?')
        .bind(1000 - i, ids.at(-1))
        .run()
    }
    expect((await activeOf(key)).sort()).toEqual(ids.slice(2).sort())
  })

  test('signing in ends the earlier session of the same browser', async () => {
    const key = await newApiKey()
    const other = await newApiKey()
    await start(key, 'replaced')
    const kept = await start(other, 'replacing', 'replaced')
    expect([await activeOf(key), await activeOf(other)]).toEqual([[], [kept]])
  })

  test('a session that is in use ends after twelve hours', async () => {
    const key = await newApiKey()
    const id = await start(key, 'long')
    const age = (ms: number) =>
      env.DB.prepare('UPDATE sessions SET created_at = ? WHERE id = ?')
        .bind(Date.now() - ms, id)
        .run()
    const hours = 60 * 60 * 1000
    await age(11.9 * hours)
    expect(await activeOf(key)).toEqual([id])
    await age(12.1 * hours)
    expect(await activeOf(key)).toEqual([])
  })
})

describe('events', () => {
  test.each(['events=connect_application_secret.expired', 'organization_id=org_unknown'])(
    'the event list filtered by %s reads fewer than 200 rows among 5,000 other events',
    async (query) => {
      const { apiKey } = await newApiKey()
      const { id } = await newApplication(apiKey)
      const columns = 'environment_id, organization_id, type, data, actor_type, created_at'
      const { success } = await env.DB.prepare(
        `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO events (seq, id, ${columns}) SELECT seq + i, 'event_' || ? || i, ${columns} FROM events, n
         WHERE type = 'connect_application.created' AND data ->> 'id' = ?`,
      )
        .bind(id, id)
        .run()
      expect(success).toBe(true)
      const counter = counted(env.DB)
      const { json } = await call(apiKey, 'GET', `/events?limit=1&${query}`, { bindings: { DB: counter.database } })
      expect(json.data).toEqual([])
      expect(counter.rowsRead).toBeLessThan(200)
      expect((await call(apiKey, 'GET', '/events?limit=100')).json.data).toHaveLength(100)
    },
  )
})

test.each([Number.NaN, Number.POSITIVE_INFINITY, undefined])(
  'a value %s throws an error and is not sent to the database, which would store NULL',
  async (value) => {
    const key = await newApiKey()
    const row = {
      id: 'session_x',
      api_key_id: key.id,
      digest: key.digest,
      created_at: value as number,
      last_used_at: 1,
    }
    const session = insertSession(operatorDatabase(), callerOf(key), row)
    const counter = counted(env.DB)
    await expect(sendBatch(operatorDatabase(counter.database), { session })).rejects.toThrow(TypeError)
    expect(counter.trips).toBe(0)
  },
)

describe('permanent errors of the database', () => {
  test.each([
    ["D1_ERROR: Your account has exceeded D1's free tier daily row read limit.", 'quota_exceeded', 'midnight UTC'],
    ['D1_ERROR: Exceeded maximum DB size.', 'full', 'full'],
    ['D1_ERROR: database or disk is full: SQLITE_FULL', 'full', 'full'],
    ['D1_ERROR: database disk image is malformed: SQLITE_CORRUPT', 'corrupt', 'corrupt'],
    ['D1_ERROR: attempt to write a readonly database: SQLITE_READONLY', 'read_only', 'read-only'],
    ['D1_ERROR: no such table: events: SQLITE_ERROR', 'not_migrated', 'npm run'],
    ['D1_ERROR: table events has no column named seq: SQLITE_ERROR', 'not_migrated', 'npm run'],
  ])(
    'after the permanent error “%s”, the 503 names the cause and does not suggest a retry',
    async (message, fault, words) => {
      expect(new StorageUnavailable(new Error(message)).fault).toBe(fault)
      const { apiKey } = await newApiKey()
      let tries = 0
      const DB = withBatch(env.DB, () => {
        tries++
        throw new Error(message)
      })
      const { status, json, headers } = await call(apiKey, 'GET', '/connect/applications', { bindings: { DB } })
      expect([status, tries]).toEqual([503, 1])
      expect(json.message).toContain(words)
      expect(json.message).not.toMatch(/retry|again/i)
      expect(Number(headers.get('Retry-After'))).toBeGreaterThanOrEqual(1)
    },
  )
})

describe('the schema', () => {
  test.each([
    [SCHEMA_VERSION - 1, 'not_migrated'],
    [SCHEMA_VERSION + 1, 'newer_schema'],
  ])('a database with schema version %i is refused', async (version, fault) => {
    await env.DB.prepare('UPDATE schema_version SET version = ?').bind(version).run()
    await expect(requireCurrentSchema(operatorDatabase())).rejects.toMatchObject({ fault })
    await env.DB.prepare('UPDATE schema_version SET version = ?').bind(SCHEMA_VERSION).run()
    await requireCurrentSchema(operatorDatabase())
  })
})
