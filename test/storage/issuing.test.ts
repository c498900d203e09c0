import { env } from 'cloudflare:workers'
import sql from 'sql-template-tag'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { sha256 } from '../../src/credential/digest.ts'
import { newId } from '../../src/credential/id.ts'
import type { Change } from '../../src/storage/caller.ts'
import type { Database } from '../../src/storage/database.ts'
import type { KeyedRequest } from '../../src/storage/idempotency.ts'
import {
  createClientSecret,
  type NewClientSecret,
  replaceClientSecret,
  rotateClientSecrets,
  type SecretLimits,
} from '../../src/storage/issuing.ts'
import { m2mApplication, newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { type SecretRow, storeSecrets } from '../connect/inventory-rows.ts'
import { counted } from '../faults/wrapped.ts'
import { callerOf, changeBy, type Key, rowsOf, tooLate } from './changes.ts'

/** Secrets that are issued once, and again to a request that is repeated. */

const NOW = Date.now()
const DAY_MS = 86_400_000
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
  ['a key with only the permission secrets:write', true],
])(
  'a replay by %s records one event, and adds the event to the history of the replayed secret only',
  async (_, isNarrow) => {
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
  },
)

test('a create that is not a replay makes one D1 request, and none after the response', async () => {
  const { key, application, request } = await newIssuer()
  // A key that was used within the minute.
  await rowsOf(sql`UPDATE api_keys SET last_used_at = ${NOW} WHERE id = ${key.id}`)
  const counter = counted(env.DB)
  const work: Promise<unknown>[] = []
  const database: Database = { ...operatorDatabase(counter.database), waitUntil: (promise) => void work.push(promise) }
  const secret = { ...(await newSecret(application.id)), ...NO_LIMITS }
  const outcome = await createClientSecret(database, changeBy(callerOf(key), NOW), secret, LIMIT, request)
  await Promise.all(work)
  expect(outcome).toMatchObject({ granted: { replayedFrom: null } })
  expect(counter.trips).toBe(1)
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

test('a replay that is too late to be recorded is returned, and is in neither the events nor the history', async () => {
  const { key, create } = await newIssuer()
  const first = changeBy(callerOf(key), NOW)
  const { granted } = (await create(first)) as { granted: { secret: { id: string } } }
  const before = await eventsOf(key)
  const replay = await tooLate(() => create())
  expect(replay).toMatchObject({ granted: { replayedFrom: expect.anything() } })
  expect(await eventsOf(key)).toEqual(before)
  expect(await historyOf(granted.secret.id)).toEqual([first.eventId])
})

test('a replay that can’t be recorded is returned, and the failure is logged', async () => {
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

test('a retry of a create that was made succeeds although the environment was frozen in between', async () => {
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

test('a replay for a secret that expires one millisecond later succeeds', async () => {
  const { key, create } = await newIssuer()
  await create()
  await rowsOf(sql`UPDATE client_secrets SET expires_at = ${NOW + 1} WHERE environment_id = ${key.environmentId}`)
  expect(await create()).toMatchObject({ granted: { replayedFrom: expect.anything() } })
})

test('a create after its deadline is refused, and creates nothing', async () => {
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
  test('at the limit, a new secret can replace another one, and only the replaced secret expires', async () => {
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

  test.each([
    'a secret of another application',
    'a secret that has ended',
    'a secret that was rotated out',
    'an unknown secret',
  ])('at the limit, a new secret in place of %s is refused', async (what) => {
    const { key, application } = await newIssuer()
    const elsewhere = await newApplication(key.apiKey)
    const rows = Array.from({ length: LIMIT }, (_, i) => ({ createdAt: NOW - 1000 + i }))
    await storeSecrets(key.environmentId, application.id, rows)
    const [ofOther = ''] = await storeSecrets(key.environmentId, elsewhere.id, [{ createdAt: NOW - 1000 }])
    const [ended = ''] = await storeSecrets(key.environmentId, application.id, [{ createdAt: NOW, expiresAt: NOW }])
    const rotatedOut = { createdAt: NOW, expiresAt: NOW + DAY_MS, retiresAt: NOW + DAY_MS }
    const [retired = ''] = await storeSecrets(key.environmentId, application.id, [rotatedOut])
    const subjects = new Map([
      ['a secret of another application', ofOther],
      ['a secret that has ended', ended],
      ['a secret that was rotated out', retired],
    ])
    const replaced = subjects.get(what) ?? 'secret_unknown'
    const before = await rowsOf(sql`SELECT * FROM client_secrets WHERE environment_id = ${key.environmentId}`)
    const change = changeBy(callerOf(key), NOW)
    const secret = await newSecret(application.id)
    const outcome = await replaceClientSecret(operatorDatabase(), change, secret, replaced, LIMIT, null)
    expect(outcome).toMatchObject({ refused: 'client_secret_limit_reached' })
    expect(await rowsOf(sql`SELECT * FROM client_secrets WHERE environment_id = ${key.environmentId}`)).toEqual(before)
  })
})

/** The secrets of an environment, and its events. */
const stateOf = async (key: Key) => [
  await rowsOf(sql`SELECT * FROM client_secrets WHERE environment_id = ${key.environmentId} ORDER BY id`),
  await eventsOf(key),
]
const secretRow = async (id: string) => (await rowsOf(sql`SELECT * FROM client_secrets WHERE id = ${id}`))[0]

/** An application with the scopes a and b, beside another one, and another environment with another policy. */
async function newOwner(rows: readonly Partial<SecretRow>[] = []) {
  const [key, stranger] = [await newApiKey(), await newApiKey()]
  await rowsOf(sql`UPDATE environments SET max_lifetime_days = 3 WHERE id = ${stranger.environmentId}`)
  const [application, other, elsewhere] = [
    await newApplication(key.apiKey, { ...m2mApplication, scopes: ['a', 'b'] }),
    await newApplication(key.apiKey),
    await newApplication(stranger.apiKey),
  ]
  const ids = await storeSecrets(
    key.environmentId,
    application.id,
    rows.map((row, i) => ({ createdAt: NOW - 1000 + i, ...row })),
  )
  const [ofOther = ''] = await storeSecrets(key.environmentId, other.id, [{ createdAt: NOW - 1 }])
  const [ofStranger = ''] = await storeSecrets(stranger.environmentId, elsewhere.id, [{ createdAt: NOW - 1 }])
  return { key, stranger, application, elsewhere, ids, others: [ofOther, ofStranger] }
}

interface Issue {
  readonly application?: string
  readonly expiresAt?: number
  readonly limits?: SecretLimits
  readonly maxLifetimeDays?: number
  readonly isFrozen?: boolean
  readonly isDeleted?: boolean
}

async function create(
  { key, application }: Awaited<ReturnType<typeof newOwner>>,
  { maxLifetimeDays, isFrozen = false, isDeleted = false, limits = NO_LIMITS, ...fields }: Issue,
  request: KeyedRequest | null = null,
) {
  await rowsOf(sql`UPDATE environments SET max_lifetime_days = ${maxLifetimeDays ?? null},
    frozen_at = ${isFrozen ? 1 : null} WHERE id = ${key.environmentId}`)
  if (isDeleted) await rowsOf(sql`UPDATE applications SET deleted_at = 1 WHERE id = ${application.id}`)
  const secret = { ...(await newSecret(application.id)), ...limits, ...fields }
  const change = changeBy(callerOf(key), NOW)
  const outcome = await createClientSecret(operatorDatabase(), change, secret, LIMIT, request)
  return { outcome, id: secret.id, eventId: change.eventId }
}

describe('creating a secret', () => {
  test.each<[string, Issue, object]>([
    ['without an expiry', {}, { expires_at: null, reminded_days: null }],
    ['that expires in a moment', { expiresAt: NOW + 1 }, { expires_at: NOW + 1, reminded_days: 1 }],
    ['that expires in a day', { expiresAt: NOW + DAY_MS }, { expires_at: NOW + DAY_MS, reminded_days: 1 }],
    ['that expires in 20 days', { expiresAt: NOW + 20 * DAY_MS }, { reminded_days: 30 }],
    ['that expires in 40 days', { expiresAt: NOW + 40 * DAY_MS }, { reminded_days: null }],
    ['under a policy of 7 days', { maxLifetimeDays: 7 }, { expires_at: NOW + 7 * DAY_MS, reminded_days: 7 }],
    [
      'with an expiry a minute after the policy',
      { maxLifetimeDays: 20, expiresAt: NOW + 20 * DAY_MS + 60_000 },
      { expires_at: NOW + 20 * DAY_MS + 60_000, reminded_days: 30 },
    ],
    [
      'with limits',
      { limits: { scopes: ['b'], allowedIps: ['192.0.2.0/24'] } },
      { allowed_scopes: '["b"]', allowed_ips: '["192.0.2.0/24"]' },
    ],
    ['with no scopes', { limits: { scopes: [], allowedIps: null } }, { allowed_scopes: '[]', allowed_ips: null }],
  ])('a secret %s is stored with its creator and its history', async (_, issue, columns) => {
    const owner = await newOwner()
    const { outcome, id, eventId } = await create(owner, issue)
    expect(outcome).toMatchObject({ granted: { secret: { id } } })
    expect(await secretRow(id)).toMatchObject({
      application_id: owner.application.id,
      secret_hint: 'abcdef',
      name: null,
      created_by: owner.key.id,
      created_by_name: 'test',
      created_by_person: null,
      created_at: NOW,
      allowed_scopes: null,
      allowed_ips: null,
      history: JSON.stringify([eventId]),
      ...columns,
    })
    expect((await eventsOf(owner.key)).at(-1)).toMatchObject({
      type: 'connect_application_secret.created',
      secret: id,
    })
  })

  test('a secret that a person creates is stored with the email address of the person', async () => {
    const { key, application } = await newOwner()
    const sessionId = newId('session', NOW)
    const digest = await sha256(sessionId)
    await rowsOf(sql`INSERT INTO sessions (environment_id, id, api_key_id, digest, session_person, created_at, last_used_at)
      VALUES (${key.environmentId}, ${sessionId}, ${key.id}, ${digest}, 'ada@example.com', ${NOW}, ${NOW})`)
    const secret = { ...(await newSecret(application.id)), ...NO_LIMITS }
    const change = changeBy({ kind: 'session', digest }, NOW)
    expect(await createClientSecret(operatorDatabase(), change, secret, LIMIT, null)).toMatchObject({ granted: {} })
    expect(await secretRow(secret.id)).toMatchObject({ created_by: key.id, created_by_person: 'ada@example.com' })
  })

  test('secrets that are revoked or expired, or that a rotation expires, do not count against the limit', async () => {
    const ended = [{ revokedAt: 1 }, { expiresAt: NOW }, { expiresAt: NOW + DAY_MS, retiresAt: NOW + DAY_MS }]
    const owner = await newOwner([...ended, {}, {}, {}, { disabledAt: 1 }])
    expect((await create(owner, {})).outcome).toMatchObject({ granted: {} })
    const before = await stateOf(owner.key)
    expect((await create(owner, {})).outcome).toMatchObject({ refused: 'client_secret_limit_reached' })
    expect(await stateOf(owner.key)).toEqual(before)
  })

  test.each<[refused: string, string, Issue]>([
    ['environment_frozen', 'in a frozen environment', { isFrozen: true }],
    ['expires_at_past', 'that expires now', { expiresAt: NOW }],
    [
      'expires_at_too_late',
      'that expires more than a minute after the policy',
      { maxLifetimeDays: 1, expiresAt: NOW + DAY_MS + 60_001 },
    ],
    ['scopes_unknown', 'with a scope that its application lacks', { limits: { scopes: ['a', 'c'], allowedIps: null } }],
    ['entity_not_found', 'of an unknown application', { application: 'conn_app_unknown' }],
    ['entity_not_found', 'of a deleted application', { isDeleted: true }],
  ])('the create is refused as %s for a secret %s, and nothing is stored', async (refused, _, issue) => {
    const owner = await newOwner([{}])
    const before = await stateOf(owner.key)
    const request = await newRequest()
    for (const keyed of [null, request]) expect((await create(owner, issue, keyed)).outcome).toMatchObject({ refused })
    expect(await stateOf(owner.key)).toEqual(before)
    expect(await rowsOf(sql`SELECT 1 FROM idempotency_records WHERE digest = ${request.digest}`)).toEqual([])
  })

  test('a create for an application of another environment gets entity_not_found', async () => {
    const owner = await newOwner()
    const before = await stateOf(owner.stranger)
    expect((await create(owner, { application: owner.elsewhere.id })).outcome).toMatchObject({
      refused: 'entity_not_found',
    })
    expect(await stateOf(owner.stranger)).toEqual(before)
  })

  test('another create with the same Idempotency-Key is refused, and stores nothing', async () => {
    const owner = await newOwner()
    const request = await newRequest()
    expect((await create(owner, {}, request)).outcome).toMatchObject({ granted: {} })
    const before = await stateOf(owner.key)
    const changed = { ...request, requestDigest: await sha256('another') }
    expect((await create(owner, {}, changed)).outcome).toMatchObject({ refused: 'idempotency_key_reused' })
    expect(await stateOf(owner.key)).toEqual(before)
  })
})

describe('rotating secrets', () => {
  const HOUR_MS = 3_600_000

  async function rotate(
    { key, application }: Awaited<ReturnType<typeof newOwner>>,
    retireAt: number,
    fields: Partial<NewClientSecret> = {},
    caller: Pick<Key, 'digest'> = key,
  ) {
    const secret = { ...(await newSecret(application.id)), ...fields }
    const change = changeBy(callerOf(caller), NOW)
    const outcome = await rotateClientSecrets(operatorDatabase(), change, secret, retireAt, LIMIT, null)
    return { outcome, id: secret.id, eventId: change.eventId }
  }
  const endsOf = (ids: readonly string[]) =>
    Promise.all(
      ids.map(async (id) => {
        const { expires_at, revoked_at } = (await secretRow(id)) ?? {}
        return [expires_at, revoked_at]
      }),
    )

  test('a rotation makes every unexpired secret of the application expire by the end of the grace period, and changes no other', async () => {
    const end = NOW + 8 * DAY_MS
    const live = [
      { name: 'without an expiry' },
      { expiresAt: NOW + 2 * DAY_MS },
      { expiresAt: end + 1 },
      { disabledAt: 1 },
    ]
    const owner = await newOwner([...live, { revokedAt: 1 }, { expiresAt: NOW }, { notedAt: 1 }])
    const unchanged = [...owner.ids.slice(4), ...owner.others]
    const before = await Promise.all(unchanged.map(secretRow))
    const { outcome, id, eventId } = await rotate(owner, end)
    expect(outcome).toMatchObject({ granted: { secret: { id } } })
    const retired = { retires_at: end, revoked_at: null, updated_at: NOW, event_id: eventId }
    expect(await Promise.all(owner.ids.slice(0, 4).map(secretRow))).toMatchObject([
      { ...retired, expires_at: end, reminded_days: 30 },
      { ...retired, expires_at: NOW + 2 * DAY_MS, reminded_days: 7 },
      { ...retired, expires_at: end, reminded_days: 30 },
      { ...retired, expires_at: end, disabled_at: 1 },
    ])
    expect(await Promise.all(unchanged.map(secretRow))).toEqual(before)
    expect(await secretRow(id)).toMatchObject({ expires_at: null, retires_at: null, reminded_days: null })
    const [event] = await rowsOf<{ type: string; data: string }>(
      sql`SELECT type, data FROM events WHERE id = ${eventId}`,
    )
    expect(event?.type).toBe('connect_application_secret.rotated')
    const touched = JSON.parse(`${event?.data}`).client_secrets.map((secret: { id: string }) => secret.id)
    expect(touched.sort()).toEqual(owner.ids.slice(0, 4))
  })

  test('a key with only the permission secrets:write can rotate secrets', async () => {
    const owner = await newOwner([{}])
    const { environmentId } = owner.key
    const narrow = await newApiKey({ environmentId, access: 'read', permissions: ['secrets:write'] })
    expect((await rotate(owner, NOW + DAY_MS, {}, narrow)).outcome).toMatchObject({ granted: {} })
    expect(await endsOf(owner.ids)).toEqual([[NOW + DAY_MS, null]])
  })

  test('a rotation beyond the limit revokes the secret that expires first, and then the oldest one', async () => {
    const end = NOW + DAY_MS
    const full = await newOwner([{ expiresAt: NOW + HOUR_MS }, {}, {}, {}, {}])
    await rotate(full, end)
    expect(await endsOf(full.ids)).toEqual([[NOW + HOUR_MS, null], ...Array(4).fill([end, null])])

    const over = await newOwner([{}, {}, { expiresAt: NOW + HOUR_MS }, {}, {}, {}, {}])
    await rotate(over, end)
    expect(await endsOf(over.ids)).toEqual([
      [end, NOW],
      [end, null],
      [NOW + HOUR_MS, NOW],
      ...Array(4).fill([end, null]),
    ])
  })

  test('a rotation without a grace period makes all secrets expire immediately, and revokes none', async () => {
    const owner = await newOwner(Array.from({ length: LIMIT + 1 }, () => ({})))
    await rotate(owner, NOW)
    expect(await endsOf(owner.ids)).toEqual(Array(LIMIT + 1).fill([NOW, null]))
  })

  test('a rotation is refused and changes nothing if the new secret has the digest of a stored secret', async () => {
    const owner = await newOwner([{}, {}])
    const digest = await sha256('stored')
    await rowsOf(sql`UPDATE client_secrets SET digest = ${digest} WHERE id = ${owner.ids[0]}`)
    const before = await stateOf(owner.key)
    expect((await rotate(owner, NOW + DAY_MS, { digest })).outcome).toMatchObject({ refused: 'service_unavailable' })
    expect(await stateOf(owner.key)).toEqual(before)
  })

  const ROTATED_OUT = { expiresAt: NOW + HOUR_MS, retiresAt: NOW + HOUR_MS }
  test.each<[string, readonly Partial<SecretRow>[], number]>([
    ['the newer one of two active secrets', [{}, {}], 1],
    ['an active secret, not of a newer disabled one', [{}, { disabledAt: 1 }], 0],
    ['an active secret, not of a newer revoked one', [{}, { revokedAt: 1 }], 0],
    ['an active secret, not of a newer expired one', [{}, { expiresAt: NOW }], 0],
    ['an active secret, not of a newer one that a rotation expires', [{}, ROTATED_OUT], 0],
    ['a disabled secret, not of a newer revoked one', [{ disabledAt: 1 }, { revokedAt: 1 }], 0],
    ['a revoked secret, not of the older one that it replaced', [ROTATED_OUT, { revokedAt: 1 }], 1],
    ['the newest secret, if all are revoked', [{ revokedAt: 2 }, { revokedAt: 1 }], 1],
  ])('a rotation copies the limits of %s', async (_, rows, model) => {
    const owner = await newOwner(rows)
    await rowsOf(sql`UPDATE client_secrets SET allowed_scopes = json_array(id), allowed_ips = json_array('of ' || id)`)
    const { id } = await rotate(owner, NOW + DAY_MS)
    const expected = owner.ids[model]
    expect(await secretRow(id)).toMatchObject({
      allowed_scopes: JSON.stringify([expected]),
      allowed_ips: JSON.stringify([`of ${expected}`]),
    })
  })

  test('a rotation of an application without secrets creates one without limits on scopes and IP addresses', async () => {
    const owner = await newOwner()
    await rowsOf(sql`UPDATE client_secrets SET allowed_scopes = '["x"]', allowed_ips = '["192.0.2.0/24"]'`)
    const { id } = await rotate(owner, NOW + DAY_MS)
    expect(await secretRow(id)).toMatchObject({ allowed_scopes: null, allowed_ips: null })
  })
})
