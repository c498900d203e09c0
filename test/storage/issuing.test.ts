import sql from 'sql-template-tag'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { sha256 } from '../../src/credential/digest.ts'
import { newId } from '../../src/credential/id.ts'
import type { Change } from '../../src/storage/caller.ts'
import type { Database } from '../../src/storage/database.ts'
import type { KeyedRequest } from '../../src/storage/idempotency.ts'
import { createClientSecret, type NewClientSecret, replaceClientSecret } from '../../src/storage/issuing.ts'
import { m2mApplication, newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { storeSecrets } from '../connect/inventory-rows.ts'
import { callerOf, changeBy, type Key, rowsOf, tooLate } from './changes.ts'

/** Secrets that are issued once, and again to a request that is repeated. */

const NOW = Date.now()
const LIMIT = 5
const NO_LIMITS = { scopes: null, allowedIps: null }

async function newSecret(application: string): Promise<NewClientSecret> {
  const id = newId('secret', NOW)
  return { id, application, digest: await sha256(id), hint: 'abcdef', name: null, expiresAt: null }
}

const newRequest = async (): Promise<KeyedRequest> => {
  const name = crypto.randomUUID()
  const [digest, requestDigest, salt] = await Promise.all([sha256(name), sha256(`of ${name}`), sha256(`salt ${name}`)])
  return { digest, requestDigest, salt, prefix: 'cs' }
}

/** An application of an organization, with a request that creates a secret in it. */
async function newIssuer(isNarrow = false) {
  const owner = await newApiKey()
  const { environmentId } = owner
  const key = isNarrow ? await newApiKey({ environmentId, access: 'read', permissions: ['secrets:write'] }) : owner
  const application = await newApplication(owner.apiKey, { ...m2mApplication, organization_id: 'org_1' })
  const request = await newRequest()
  /** Sends the request, and waits until the work after the response has ended. */
  const create = async (change: Change = changeBy(callerOf(key), NOW), times = 1) => {
    const work: Promise<unknown>[] = []
    const database: Database = { ...operatorDatabase(), waitUntil: (promise) => void work.push(promise) }
    const secret = { ...(await newSecret(application.id)), ...NO_LIMITS }
    const outcome = await createClientSecret(database, change, secret, LIMIT, request)
    await Promise.all(work)
    if (times > 1) await create(change, times - 1)
    return outcome
  }
  return { key, application, request, create }
}

const eventsOf = async ({ environmentId }: Key) =>
  rowsOf<{ id: string }>(
    sql`SELECT id, type, data ->> 'id' AS secret, organization_id FROM events WHERE environment_id = ${environmentId} ORDER BY seq`,
  )
const historyOf = async (id: string) =>
  JSON.parse(`${(await rowsOf(sql`SELECT history FROM client_secrets WHERE id = ${id}`))[0]?.history}`)

test.each([
  ['a key with write access', false],
  ['a key that may only change secrets', true],
])('a replay by %s is recorded in the events and in the history of its secret alone', async (_, isNarrow) => {
  const { key, application, request, create } = await newIssuer(isNarrow)
  const [other = ''] = await storeSecrets(key.environmentId, application.id, [{ createdAt: NOW - 1000 }])
  const first = changeBy(callerOf(key), NOW)
  const created = await create(first)
  const { granted } = created as Extract<typeof created, { granted: object }>
  const { id } = granted.secret
  expect(granted.replayedFrom).toBeNull()
  const [{ length }, again] = [await eventsOf(key), changeBy(callerOf(key), NOW)]
  const replay = await create(again)
  expect(replay).toMatchObject({
    granted: { ...granted, replayedFrom: { salt: request.salt, prefix: request.prefix } },
  })
  expect((await eventsOf(key)).slice(length)).toEqual([
    { id: again.eventId, type: 'connect_application_secret.replayed', secret: id, organization_id: 'org_1' },
  ])
  expect(await historyOf(id)).toEqual([first.eventId, again.eventId])
  expect(await historyOf(other)).toBeNull()
})

test('a replay whose response was lost is recorded once', async () => {
  const { key, create } = await newIssuer()
  const first = changeBy(callerOf(key), NOW)
  const { granted } = (await create(first)) as { granted: { secret: { id: string } } }
  const again = changeBy(callerOf(key), NOW)
  const { length } = await eventsOf(key)
  await create(again, 2)
  expect(await eventsOf(key)).toHaveLength(length + 1)
  expect(await historyOf(granted.secret.id)).toEqual([first.eventId, again.eventId])
})

test('a replay that can’t be recorded is returned, and logged', async () => {
  const { key, create } = await newIssuer()
  const { granted } = (await create()) as { granted: { secret: { id: string } } }
  const log = vi.spyOn(console, 'error').mockImplementation(() => {})
  await rowsOf(sql`CREATE TRIGGER refuse_replays BEFORE INSERT ON events WHEN NEW.type LIKE '%.replayed'
    BEGIN SELECT raise(ABORT, 'no replays'); END`)
  onTestFinished(async () => {
    await rowsOf(sql`DROP TRIGGER refuse_replays`)
    log.mockRestore()
  })
  expect(await create()).toMatchObject({ granted: { replayedFrom: expect.anything() } })
  expect(log.mock.calls).toEqual([
    [
      {
        message: 'replay not recorded',
        secret_id: granted.secret.id,
        request_id: 'r',
        error: expect.stringContaining('no replays'),
      },
    ],
  ])
  expect(await eventsOf(key)).toHaveLength(2)
})

test('a create whose response was lost is granted, also if the environment was frozen meanwhile', async () => {
  const { key, create } = await newIssuer()
  const change = changeBy(callerOf(key), NOW)
  const created = await create(change)
  await rowsOf(sql`UPDATE environments SET frozen_at = 1 WHERE id = ${key.environmentId}`)
  expect(await create(change)).toEqual({ ...created, identity: expect.anything() })
  expect(await create()).toMatchObject({ refused: 'environment_frozen' })
})

test.each([
  ['was revoked', 'client_secret_revoked', sql`UPDATE client_secrets SET revoked_at = ${NOW}`],
  ['is disabled', 'client_secret_disabled', sql`UPDATE client_secrets SET disabled_at = ${NOW}`],
  ['expires now', 'client_secret_expired', sql`UPDATE client_secrets SET expires_at = ${NOW}`],
  ['is of a deleted application', 'application_deleted', sql`UPDATE applications SET deleted_at = ${NOW}`],
])('a replay for a secret that %s is refused as %s, and not recorded', async (_, refused, update) => {
  const { key, create } = await newIssuer()
  await create()
  const before = await eventsOf(key)
  await rowsOf(sql`${update} WHERE environment_id = ${key.environmentId}`)
  expect(await create()).toMatchObject({ refused })
  expect(await eventsOf(key)).toEqual(before)
})

test('a replay for a secret that expires in a moment is granted', async () => {
  const { key, create } = await newIssuer()
  await create()
  await rowsOf(sql`UPDATE client_secrets SET expires_at = ${NOW + 1} WHERE environment_id = ${key.environmentId}`)
  expect(await create()).toMatchObject({ granted: { replayedFrom: expect.anything() } })
})

test('a create that is too late creates nothing, and says so', async () => {
  const { key, application, request } = await newIssuer()
  const before = await eventsOf(key)
  const secret = { ...(await newSecret(application.id)), ...NO_LIMITS }
  const outcome = await tooLate((database) =>
    createClientSecret(database, changeBy(callerOf(key), NOW), secret, LIMIT, request),
  )
  expect(outcome).toMatchObject({ refused: 'service_unavailable' })
  expect(await rowsOf(sql`SELECT 1 FROM client_secrets WHERE id = ${secret.id}`)).toEqual([])
  expect(await rowsOf(sql`SELECT 1 FROM idempotency_records WHERE digest = ${request.digest}`)).toEqual([])
  expect(await eventsOf(key)).toEqual(before)
})

describe('replacing a secret that did not reach the user', () => {
  test('a new secret takes the place of the one that it replaces, which expires, and of no other', async () => {
    const { key, application } = await newIssuer()
    const rows = Array.from({ length: LIMIT }, (_, i) => ({ createdAt: NOW - 1000 + i }))
    const [replaced = '', ...others] = await storeSecrets(key.environmentId, application.id, rows)
    const secret = await newSecret(application.id)
    const change = changeBy(callerOf(key), NOW)
    const outcome = await replaceClientSecret(operatorDatabase(), change, secret, replaced, LIMIT, null)
    expect(outcome).toMatchObject({ granted: { secret: { id: secret.id } } })
    const live = await rowsOf(sql`SELECT id, expires_at FROM client_secrets WHERE environment_id = ${key.environmentId}
      AND revoked_at IS NULL ORDER BY id`)
    expect(live).toEqual([
      { id: replaced, expires_at: NOW },
      ...others.map((id) => ({ id, expires_at: null })),
      { id: secret.id, expires_at: null },
    ])
  })

  test.each(['a secret of another application', 'a secret that has ended', 'no secret'])(
    'at the limit, %s is not replaced',
    async (what) => {
      const { key, application } = await newIssuer()
      const elsewhere = await newApplication(key.apiKey)
      const rows = Array.from({ length: LIMIT }, (_, i) => ({ createdAt: NOW - 1000 + i }))
      await storeSecrets(key.environmentId, application.id, rows)
      const [ofOther = ''] = await storeSecrets(key.environmentId, elsewhere.id, [{ createdAt: NOW - 1000 }])
      const [ended = ''] = await storeSecrets(key.environmentId, application.id, [{ createdAt: NOW, expiresAt: NOW }])
      const replaced = what === 'no secret' ? 'secret_unknown' : what === 'a secret that has ended' ? ended : ofOther
      const before = await rowsOf(sql`SELECT * FROM client_secrets WHERE environment_id = ${key.environmentId}`)
      const change = changeBy(callerOf(key), NOW)
      const secret = await newSecret(application.id)
      const outcome = await replaceClientSecret(operatorDatabase(), change, secret, replaced, LIMIT, null)
      expect(outcome).toMatchObject({ refused: 'client_secret_limit_reached' })
      expect(await rowsOf(sql`SELECT * FROM client_secrets WHERE environment_id = ${key.environmentId}`)).toEqual(
        before,
      )
    },
  )
})
