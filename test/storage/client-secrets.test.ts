import sql from 'sql-template-tag'
import { describe, expect, test } from 'vitest'
import {
  type ClientSecretChanges,
  findApplicationWithSecrets,
  findClientSecret,
  findClientSecretsByHint,
  revokeAllClientSecrets,
  revokeClientSecret,
  type SecretReference,
  updateClientSecret,
} from '../../src/storage/client-secrets.ts'
import { m2mApplication, newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { type SecretRow, storeSecrets } from '../connect/inventory-rows.ts'
import { callerOf, changeBy, type Key, rowsOf, tooLate } from './changes.ts'

/** Changes of secrets in storage, beside secrets of the same application, of another one, and of another environment. */

const NOW = Date.now()
const HOUR_MS = 3_600_000
const LIMIT = 5

/** An application with these secrets; of the environment of `key` if there is one. */
async function stored(rows: readonly Partial<SecretRow>[], key?: Key) {
  const owner = key ?? (await newApiKey())
  const { id: application, client_id: clientId } = await newApplication(owner.apiKey)
  const secrets = rows.map((row, i) => ({ createdAt: NOW - 1000 + i, ...row }))
  const ids = await storeSecrets(owner.environmentId, application, secrets)
  return { key: owner, application, clientId, ids, id: ids[0] ?? '' }
}

/** All secrets of an environment, and its events of secrets. */
const stateOf = async ({ environmentId }: Key) => [
  await rowsOf(sql`SELECT * FROM client_secrets WHERE environment_id = ${environmentId} ORDER BY id`),
  await eventsOf({ environmentId }),
]

const eventsOf = async ({ environmentId }: Pick<Key, 'environmentId'>) =>
  (
    await rowsOf<{ type: string; data: string }>(
      sql`SELECT type, data FROM events WHERE environment_id = ${environmentId} AND type LIKE 'connect_application_secret.%' ORDER BY seq`,
    )
  ).map(({ type, data }) => ({ type: type.split('.')[1], data: JSON.parse(data) }))

const revokedAt = async (ids: readonly string[]) => {
  const rows = await rowsOf<{ id: string; revoked_at: number | null }>(
    sql`SELECT id, revoked_at FROM client_secrets WHERE id IN (SELECT value FROM json_each(${JSON.stringify(ids)}))`,
  )
  return ids.map((id) => rows.find((row) => row.id === id)?.revoked_at)
}

const change = (key: Key, reference: SecretReference, changes: ClientSecretChanges) =>
  updateClientSecret(operatorDatabase(), changeBy(callerOf(key), NOW), reference, changes, LIMIT)
const revoke = (key: Key, reference: SecretReference) =>
  revokeClientSecret(operatorDatabase(), changeBy(callerOf(key), NOW), reference)
const revokeAll = (key: Key, application: string) =>
  revokeAllClientSecrets(operatorDatabase(), changeBy(callerOf(key), NOW), application)

describe('a search by hint', () => {
  const search = async (key: Key, hint: string) => {
    const outcome = await findClientSecretsByHint(operatorDatabase(), callerOf(key), hint, NOW)
    return outcome.refused === undefined ? outcome.granted.map(({ id }) => id) : expect.unreachable()
  }

  test('the search by hint compares every character of a hint of four to six characters', async () => {
    const { key, ids } = await stored([{ hint: 'xxabcd' }, { hint: 'xyabcd' }, { hint: 'xxabce' }])
    const [first, second] = ids
    expect(await search(key, 'xxabcd')).toEqual([first])
    expect(await search(key, 'yabcd')).toEqual([second])
    expect(await search(key, 'abcd')).toEqual([first, second])
    expect(await search(key, 'zzabcd')).toEqual([])
  })

  test('the search by hint does not find a secret that has expired, is recorded as expired, or is revoked', async () => {
    const hint = 'abcdef'
    const rows = [{ expiresAt: NOW }, { expiresAt: NOW + 1 }, { notedAt: 1 }, { revokedAt: 1 }, {}]
    const { key, ids } = await stored(rows.map((row) => ({ hint, ...row })))
    expect(await search(key, hint)).toEqual([ids[1], ids[4]])
  })
})

test('findClientSecret finds active and expired secrets, and no revoked ones', async () => {
  const { key, ids } = await stored([{ revokedAt: 1 }, { expiresAt: NOW - 1 }, {}])
  const found = await Promise.all(ids.map((id) => findClientSecret(operatorDatabase(), callerOf(key), id)))
  expect(found).toMatchObject([
    { refused: 'entity_not_found' },
    { granted: { id: ids[1] } },
    { granted: { id: ids[2] } },
  ])
})

test('an application is found with its unexpired secrets, oldest first, and the maximum lifetime of its environment', async () => {
  const rows = [{ createdAt: NOW }, { createdAt: NOW - 1 }, { revokedAt: 1 }, { expiresAt: NOW }, { disabledAt: 1 }]
  const { key, application, clientId, ids } = await stored(rows)
  await stored([{}], key)
  const other = await stored([{}])
  await rowsOf(sql`UPDATE environments SET max_lifetime_days = iif(id = ${key.environmentId}, 90, 30)
    WHERE id IN (${key.environmentId}, ${other.key.environmentId})`)
  const secrets = [ids[4], ids[1], ids[0]].map((id) => ({ id }))
  for (const id of [application, clientId]) {
    const found = await findApplicationWithSecrets(operatorDatabase(), callerOf(key), id, NOW)
    expect(found).toMatchObject({ granted: { application: { id: application }, secrets, maxLifetimeDays: 90 } })
  }
  const unknown = await findApplicationWithSecrets(operatorDatabase(), callerOf(key), other.application, NOW)
  expect(unknown).toMatchObject({ refused: 'entity_not_found' })
})

test('an API key with only the permission applications:write can read the details of secrets', async () => {
  const { key, application, id } = await stored([{ hint: 'abcdef' }])
  const narrow = await newApiKey({
    environmentId: key.environmentId,
    access: 'read',
    permissions: ['applications:write'],
  })
  const [database, caller] = [operatorDatabase(), callerOf(narrow)]
  expect(await findClientSecret(database, caller, id)).toMatchObject({ granted: { id } })
  expect(await findClientSecretsByHint(database, caller, 'abcdef', NOW)).toMatchObject({ granted: [{ id }] })
  expect(await findApplicationWithSecrets(database, caller, application, NOW)).toMatchObject({
    granted: { secrets: [{ id }] },
  })
})

describe('revoking a secret', () => {
  test('revoking a secret twice revokes only this secret, and records one event', async () => {
    const { key, ids, id } = await stored([{}, {}])
    for (let i = 0; i < 2; i++) expect(await revoke(key, { id })).toMatchObject({ granted: null })
    expect(await revokedAt(ids)).toEqual([NOW, null])
    expect(await eventsOf(key)).toMatchObject([{ type: 'deleted', data: { id } }])
  })

  test.each(['application', 'clientId'] as const)(
    'a secret is not found, and not changed, with another application’s ID (member %s)',
    async (member) => {
      const owner = await stored([{}, {}])
      const other = await stored([{}], owner.key)
      const before = await stateOf(owner.key)
      const wrong = { id: owner.id, application: other[member] }
      expect(await revoke(owner.key, wrong)).toMatchObject({ refused: 'entity_not_found' })
      expect(await change(owner.key, wrong, { name: 'x' })).toMatchObject({ refused: 'entity_not_found' })
      expect(await stateOf(owner.key)).toEqual(before)
      const right = { id: owner.id, application: owner[member] }
      expect(await change(owner.key, right, { name: 'x' })).toMatchObject({ granted: { id: owner.id, name: 'x' } })
      expect(await revoke(owner.key, right)).toMatchObject({ granted: null })
      expect(await revokedAt([...owner.ids, ...other.ids])).toEqual([NOW, null, null])
    },
  )

  test('an expired secret can be revoked', async () => {
    const { key, id } = await stored([{ expiresAt: 1, notedAt: 1 }])
    expect(await revoke(key, { id })).toMatchObject({ granted: null })
    expect(await revokedAt([id])).toEqual([NOW])
  })
})

describe('revoking all secrets of an application', () => {
  test('revoking all secrets revokes all unexpired secrets of the application and no others, with one event that lists them', async () => {
    const rows = [{ revokedAt: NOW - 5 }, { revokedAt: NOW }, { expiresAt: NOW }, { notedAt: 1 }, {}, { disabledAt: 1 }]
    const { key, application, ids } = await stored(rows)
    const other = await stored([{}], key)
    const stranger = await stored([{}])
    expect(await revokeAll(key, application)).toMatchObject({ granted: null })
    expect(await revokedAt(ids)).toEqual([NOW - 5, NOW, null, null, NOW, NOW])
    expect(await revokedAt([other.id, stranger.id])).toEqual([null, null])
    const [event, ...others] = await eventsOf(key)
    expect(others).toEqual([])
    expect(event).toMatchObject({ type: 'deleted', data: { application_id: application } })
    expect(event?.data.client_secrets.map((secret: { id: string }) => secret.id).sort()).toEqual([ids[4], ids[5]])
  })

  test('revoking all secrets of an application without active secrets succeeds, and records no event', async () => {
    const { key, application } = await stored([{ revokedAt: 1 }, { expiresAt: NOW }])
    const other = await stored([{}], key)
    await stored([{}])
    expect(await revokeAll(key, application)).toMatchObject({ granted: null })
    expect(await eventsOf(key)).toEqual([])
    expect(await revokedAt([other.id])).toEqual([null])
  })

  test('revoking all secrets of an unknown application, or of one in another environment, changes nothing', async () => {
    const { key } = await stored([{}])
    const stranger = await stored([{}])
    const before = await stateOf(stranger.key)
    for (const application of ['conn_app_unknown', stranger.application, stranger.clientId])
      expect(await revokeAll(key, application)).toMatchObject({ refused: 'entity_not_found' })
    expect([await stateOf(stranger.key), await eventsOf(key)]).toEqual([before, []])
  })

  test('a retry of revoking all secrets succeeds although a secret was created in between', async () => {
    const { key, application, id } = await stored([{}])
    const made = changeBy(callerOf(key), NOW)
    const send = () => revokeAllClientSecrets(operatorDatabase(), made, application)
    expect(await send()).toMatchObject({ granted: null })
    const [later = ''] = await storeSecrets(key.environmentId, application, [{ createdAt: NOW }])
    expect(await send()).toMatchObject({ granted: null })
    expect(await revokedAt([id, later])).toEqual([NOW, null])
  })
})

test.each<
  [string, (key: Key, id: string, application: string, database: ReturnType<typeof operatorDatabase>) => unknown]
>([
  [
    'an update of a secret',
    (key, id, _, database) =>
      updateClientSecret(
        database,
        changeBy(callerOf(key), NOW),
        { id },
        { name: 'x', expiresAt: NOW + HOUR_MS },
        LIMIT,
      ),
  ],
  [
    'a revocation of a secret',
    (key, id, _, database) => revokeClientSecret(database, changeBy(callerOf(key), NOW), { id }),
  ],
  [
    'a revocation of all secrets',
    (key, _, application, database) => revokeAllClientSecrets(database, changeBy(callerOf(key), NOW), application),
  ],
])('%s after its deadline is refused, and changes nothing', async (_, late) => {
  const { key, id, application } = await stored([{}])
  const before = await stateOf(key)
  const outcome = await tooLate(async (database) => late(key, id, application, database))
  expect(outcome).toMatchObject({ refused: 'service_unavailable' })
  expect(await stateOf(key)).toEqual(before)
})

const DAY_MS = 24 * HOUR_MS
/** The longest lifetime may be exceeded by this much, because the clocks of clients differ. */
const TOLERANCE_MS = 60_000

interface Subject {
  readonly row?: Partial<SecretRow>
  readonly scopes?: readonly string[]
  readonly allowedIps?: readonly string[]
  /** Other live secrets of the application. */
  readonly others?: number
  readonly maxLifetimeDays?: number
  readonly isFrozen?: boolean
}

/** A secret of an application with the scopes a and b, beside an application with other scopes. */
async function subjectOf({ row = {}, scopes, allowedIps, others = 0, maxLifetimeDays, isFrozen = false }: Subject) {
  const subject = await stored([{ name: 'old', ...row }, ...Array.from({ length: others }, () => ({}))])
  const { key, application, id } = subject
  for (const owner of [key, await newApiKey()])
    await newApplication(owner.apiKey, { ...m2mApplication, scopes: ['a', 'b', 'elsewhere'] })
  await rowsOf(sql`UPDATE applications SET scopes = '["a","b"]' WHERE id = ${application}`)
  await rowsOf(sql`UPDATE client_secrets SET allowed_scopes = ${scopes ? JSON.stringify(scopes) : null},
    allowed_ips = ${allowedIps ? JSON.stringify(allowedIps) : null} WHERE id = ${id}`)
  await rowsOf(sql`UPDATE environments SET max_lifetime_days = ${maxLifetimeDays ?? null},
    frozen_at = ${isFrozen ? 1 : null} WHERE id = ${key.environmentId}`)
  return subject
}

const OLD = NOW - 100 * DAY_MS
const IN_A_DAY = NOW + DAY_MS
const ROTATED_OUT = { expiresAt: IN_A_DAY, retiresAt: NOW + 2 * DAY_MS }

describe('updating a secret', () => {
  test.each<[string, Subject, ClientSecretChanges, object]>([
    ['a name', {}, { name: 'new' }, { name: 'new' }],
    ['no name', {}, { name: null }, { name: null }],
    ['a name, and the current state', {}, { name: 'new', disabled: false }, { name: 'new' }],
    ['the current name, and another state', {}, { name: 'old', disabled: true }, { disabled_at: NOW }],
    [
      'a name, and the current state of a disabled secret',
      { row: { disabledAt: 5 } },
      { disabled: true, name: 'new' },
      { name: 'new' },
    ],
    ['enabling', { row: { disabledAt: 5 } }, { disabled: false }, { disabled_at: null }],
    ['an expiry', {}, { expiresAt: IN_A_DAY }, { expires_at: IN_A_DAY, reminded_days: 1 }],
    ['no expiry', { row: { expiresAt: IN_A_DAY } }, { expiresAt: null }, { expires_at: null }],
    [
      'no expiry, in place of which the maximum lifetime applies',
      { row: { expiresAt: IN_A_DAY }, maxLifetimeDays: 90 },
      { expiresAt: null },
      { expires_at: NOW - 1000 + 90 * DAY_MS },
    ],
    [
      'no expiry, which the secret may keep in spite of the maximum lifetime',
      { maxLifetimeDays: 90 },
      { expiresAt: null, name: 'new' },
      { name: 'new' },
    ],
    [
      'the latest expiry within the maximum lifetime',
      { maxLifetimeDays: 90, row: { expiresAt: IN_A_DAY } },
      { expiresAt: NOW - 1000 + 90 * DAY_MS + TOLERANCE_MS },
      { expires_at: NOW - 1000 + 90 * DAY_MS + TOLERANCE_MS },
    ],
    [
      'the maximum lifetime from now, for an old secret without an expiry',
      { maxLifetimeDays: 90, row: { createdAt: OLD } },
      { expiresAt: NOW + 90 * DAY_MS + TOLERANCE_MS },
      { expires_at: NOW + 90 * DAY_MS + TOLERANCE_MS },
    ],
    [
      'an earlier expiry, which is still after the maximum lifetime',
      { maxLifetimeDays: 1, row: { expiresAt: NOW + 9 * DAY_MS } },
      { expiresAt: NOW + 8 * DAY_MS },
      { expires_at: NOW + 8 * DAY_MS },
    ],
    ['scopes', {}, { scopes: ['b'] }, { allowed_scopes: '["b"]' }],
    ['no scopes', { scopes: ['a'] }, { scopes: null }, { allowed_scopes: null }],
    [
      'a name, and the current scopes that the application no longer has',
      { scopes: ['lost'] },
      { scopes: ['lost'], name: 'new' },
      { name: 'new' },
    ],
    ['IP ranges', {}, { allowedIps: ['::1'] }, { allowed_ips: '["::1"]' }],
    ['no IP ranges', { allowedIps: ['::1'] }, { allowedIps: null }, { allowed_ips: null }],
    [
      'an expiry at the end of its grace period, at the limit',
      { row: ROTATED_OUT, others: LIMIT },
      { expiresAt: ROTATED_OUT.retiresAt },
      { expires_at: ROTATED_OUT.retiresAt },
    ],
    [
      'an expiry after its grace period, below the limit',
      { row: ROTATED_OUT, others: LIMIT - 1 },
      { expiresAt: ROTATED_OUT.retiresAt + 1 },
      { expires_at: ROTATED_OUT.retiresAt + 1 },
    ],
    ['an expiry, at the limit', { others: LIMIT }, { expiresAt: IN_A_DAY }, { expires_at: IN_A_DAY }],
    [
      'a name for an expiring secret, at the limit',
      { row: ROTATED_OUT, others: LIMIT },
      { name: 'new' },
      { name: 'new' },
    ],
    [
      'a name for a disabled secret, in a frozen environment',
      { isFrozen: true, row: { disabledAt: 5 } },
      { name: 'new' },
      { name: 'new' },
    ],
    ['disabling, in a frozen environment', { isFrozen: true }, { disabled: true }, { disabled_at: NOW }],
    [
      'a name and the current state of a disabled secret, in a frozen environment',
      { isFrozen: true, row: { disabledAt: 5 } },
      { disabled: true, name: 'new' },
      { name: 'new' },
    ],
    [
      'a name and the current values of the other members, in a frozen environment',
      { isFrozen: true, scopes: ['a'], allowedIps: ['::1'], row: { expiresAt: IN_A_DAY } },
      { name: 'new', disabled: false, scopes: ['a'], allowedIps: ['::1'], expiresAt: IN_A_DAY },
      { name: 'new' },
    ],
  ])('an update of a secret is made and records one event: %s', async (_, given, changes, columns) => {
    const { key, id } = await subjectOf(given)
    const [before] = await rowsOf(sql`SELECT * FROM client_secrets WHERE id = ${id}`)
    const { granted } = (await change(key, { id }, changes)) as { granted: object }
    expect(granted).toMatchObject({ id, updatedAt: NOW })
    const [after] = await rowsOf(sql`SELECT * FROM client_secrets WHERE id = ${id}`)
    const derived = ['history', 'event_id', 'due_at', 'reminder_due_at', 'is_rotated_out', 'reminded_days']
    const others = Object.fromEntries(derived.map((column) => [column, after?.[column]]))
    expect(after).toEqual({ ...before, ...others, updated_at: NOW, ...columns })
    expect(await eventsOf(key)).toMatchObject([{ type: 'updated', data: { id, updated_at: NOW } }])
  })

  test.each<[string, Subject, ClientSecretChanges]>([
    ['no members', {}, {}],
    ['the current name', {}, { name: 'old' }],
    ['the current expiry', { row: { expiresAt: IN_A_DAY } }, { expiresAt: IN_A_DAY }],
    ['no expiry, as before', {}, { expiresAt: null }],
    ['the current state', { row: { disabledAt: 5 } }, { disabled: true }],
    [
      'the current scopes and IP ranges',
      { scopes: ['a'], allowedIps: ['::1'] },
      { scopes: ['a'], allowedIps: ['::1'] },
    ],
    ['no scopes and IP ranges, as before', {}, { scopes: null, allowedIps: null }],
    [
      'the current values of all members, in a frozen environment',
      { isFrozen: true, row: { disabledAt: 5 } },
      { name: 'old', disabled: true, expiresAt: null, scopes: null, allowedIps: null },
    ],
  ])('an update of a secret to its current values changes nothing: %s', async (_, given, changes) => {
    const { key, id } = await subjectOf(given)
    const before = await stateOf(key)
    expect(await change(key, { id }, changes)).toMatchObject({ granted: { id } })
    expect(await stateOf(key)).toEqual(before)
  })

  test.each<[string, string, Subject, ClientSecretChanges]>([
    ['a revoked secret', 'entity_not_found', { row: { revokedAt: 1 } }, { name: 'new' }],
    ['an expired secret', 'client_secret_expired', { row: { expiresAt: NOW } }, { name: 'new' }],
    ['an expired secret', 'client_secret_expired', { row: { expiresAt: NOW } }, { expiresAt: null }],
    ['a scope of another application', 'scopes_unknown', {}, { scopes: ['a', 'elsewhere'] }],
    [
      'a new scope, besides one that the application no longer has',
      'scopes_unknown',
      { scopes: ['lost'] },
      { scopes: ['lost', 'x'] },
    ],
    [
      'an expiry after the maximum lifetime',
      'expires_at_too_late',
      { maxLifetimeDays: 90, row: { expiresAt: IN_A_DAY } },
      { expiresAt: NOW - 1000 + 90 * DAY_MS + TOLERANCE_MS + 1 },
    ],
    [
      'an expiry after the maximum lifetime from now, for an old secret without an expiry',
      'expires_at_too_late',
      { maxLifetimeDays: 90, row: { createdAt: OLD } },
      { expiresAt: NOW + 90 * DAY_MS + TOLERANCE_MS + 1 },
    ],
    [
      'a later expiry, if the current one is already after the maximum lifetime',
      'expires_at_too_late',
      { maxLifetimeDays: 1, row: { expiresAt: NOW + 9 * DAY_MS } },
      { expiresAt: NOW + 9 * DAY_MS + TOLERANCE_MS + 1 },
    ],
    [
      'no expiry, if the current one is already after the maximum lifetime',
      'expires_at_too_late',
      { maxLifetimeDays: 1, row: { expiresAt: NOW + 9 * DAY_MS } },
      { expiresAt: null },
    ],
    [
      'an expiry after the grace period, at the limit',
      'client_secret_limit_reached',
      { row: ROTATED_OUT, others: LIMIT },
      { expiresAt: ROTATED_OUT.retiresAt + 1 },
    ],
    [
      'no expiry for an expiring secret, at the limit',
      'client_secret_limit_reached',
      { row: ROTATED_OUT, others: LIMIT },
      { expiresAt: null },
    ],
    [
      'enabling, in a frozen environment',
      'environment_frozen',
      { isFrozen: true, row: { disabledAt: 5 } },
      { disabled: false },
    ],
    [
      'no expiry in place of one, in a frozen environment',
      'environment_frozen',
      { isFrozen: true, row: { expiresAt: IN_A_DAY } },
      { expiresAt: null },
    ],
    [
      'more scopes, in a frozen environment',
      'environment_frozen',
      { isFrozen: true, scopes: ['a'] },
      { scopes: ['a', 'b'] },
    ],
    [
      'no IP ranges in place of one, in a frozen environment',
      'environment_frozen',
      { isFrozen: true, allowedIps: ['::1'] },
      { allowedIps: null },
    ],
    [
      'more scopes with an earlier expiry, in a frozen environment',
      'environment_frozen',
      { isFrozen: true, scopes: ['a'] },
      { scopes: null, expiresAt: IN_A_DAY, disabled: true, name: 'new' },
    ],
    [
      'a later expiry with fewer scopes and IP ranges, in a frozen environment',
      'environment_frozen',
      { isFrozen: true, row: { expiresAt: IN_A_DAY } },
      { expiresAt: IN_A_DAY + 1, scopes: ['a'], allowedIps: ['::1'] },
    ],
  ])('an update of a secret is refused and changes nothing: %s (%s)', async (_, refused, given, changes) => {
    const { key, id } = await subjectOf(given)
    const before = await stateOf(key)
    expect(await change(key, { id }, changes)).toMatchObject({ refused })
    expect(await stateOf(key)).toEqual(before)
  })
})
