import sql from 'sql-template-tag'
import { expect, test } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { type BulkAction, changeSecrets, findSecrets } from '../../src/storage/bulk.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { type SecretRow, storeSecrets } from '../connect/inventory-rows.ts'
import { callerOf, changeBy, type Key, rowsOf, tooLate } from './changes.ts'

/** Changes of several secrets at once, beside secrets that they do not name. */

const NOW = Date.now()
const TYPES = {
  revoke: 'connect_application_secret.deleted',
  disable: 'connect_application_secret.updated',
} as const

async function stored(rows: readonly Partial<SecretRow>[], key?: Key) {
  const owner = key ?? (await newApiKey())
  const { id } = await newApplication(owner.apiKey)
  const secrets = rows.map((row, i) => ({ createdAt: NOW - 1000 + i, ...row }))
  return { key: owner, ids: await storeSecrets(owner.environmentId, id, secrets) }
}

async function stateOf({ environmentId }: Key, ids: readonly string[]) {
  const rows = await rowsOf<{ id: string; revoked_at: number | null; disabled_at: number | null; event_id: string }>(
    sql`SELECT id, revoked_at, disabled_at, event_id FROM client_secrets WHERE environment_id = ${environmentId}`,
  )
  return ids.map((id) => rows.find((row) => row.id === id))
}

/** The events of an environment's secrets. */
const eventsOf = async ({ environmentId }: Key) =>
  (
    await rowsOf<{ id: string; type: string; data: string }>(
      sql`SELECT id, type, data FROM events WHERE environment_id = ${environmentId} AND type LIKE 'connect_application_secret.%' ORDER BY seq`,
    )
  ).map(({ id, type, data }) => ({ id, type, secret: JSON.parse(data).id as string }))

const change = (key: Key, ids: readonly string[], action: BulkAction) =>
  changeSecrets(operatorDatabase(), changeBy(callerOf(key), NOW), ids, action)

test.each(['revoke', 'disable'] as const)(
  'a change of several secrets changes only these, and records one event for each: %s',
  async (action) => {
    const { key, ids } = await stored([{}, {}, {}])
    const [first = '', second = '', other = ''] = ids
    const made = changeBy(callerOf(key), NOW)
    const outcome = await changeSecrets(operatorDatabase(), made, [first, second], action)
    expect(outcome).toMatchObject({ granted: 2, hasDelivery: false })
    const events = await eventsOf(key)
    expect(events).toEqual([
      { id: made.eventId, type: TYPES[action], secret: first },
      { id: expect.stringMatching(/^event_/), type: TYPES[action], secret: second },
    ])
    const state = { revoked_at: action === 'revoke' ? NOW : null, disabled_at: action === 'disable' ? NOW : null }
    expect(await stateOf(key, ids)).toEqual([
      { id: first, ...state, event_id: events[0]?.id },
      { id: second, ...state, event_id: events[1]?.id },
      { id: other, revoked_at: null, disabled_at: null, event_id: 'event_x' },
    ])
  },
)

test.each<[string, BulkAction, Partial<SecretRow>]>([
  ['a revoked secret is not revoked again', 'revoke', { revokedAt: NOW - 5 }],
  ['a disabled secret is not disabled again', 'disable', { disabledAt: NOW - 5 }],
  ['a revoked secret is not disabled', 'disable', { revokedAt: NOW - 5 }],
  ['an expired secret is not disabled', 'disable', { expiresAt: NOW }],
])('in a change of two secrets, %s, and the other one is changed', async (_, action, row) => {
  const { key, ids } = await stored([row, {}])
  const [before] = await stateOf(key, ids)
  expect(await change(key, ids, action)).toMatchObject({ granted: 1 })
  expect((await stateOf(key, ids))[0]).toEqual(before)
  expect((await eventsOf(key)).map(({ secret }) => secret)).toEqual([ids[1]])
  // Without a change, there is no event.
  expect(await change(key, ids, action)).toMatchObject({ granted: 0 })
  expect(await eventsOf(key)).toHaveLength(1)
})

test('a change of several secrets can revoke a disabled secret', async () => {
  const { key, ids } = await stored([{ disabledAt: NOW - 5 }])
  expect(await change(key, ids, 'revoke')).toMatchObject({ granted: 1 })
  expect(await stateOf(key, ids)).toMatchObject([{ revoked_at: NOW, disabled_at: NOW - 5 }])
})

test('a change of several secrets after its deadline changes no secret, and records no event', async () => {
  const { key, ids } = await stored([{}, {}])
  const before = await stateOf(key, ids)
  const outcome = await tooLate((database) => changeSecrets(database, changeBy(callerOf(key), NOW), ids, 'revoke'))
  expect(outcome).toMatchObject({ refused: 'service_unavailable' })
  expect([await stateOf(key, ids), await eventsOf(key)]).toEqual([before, []])
})

test('a retried change of several secrets does not undo a change made in between', async () => {
  const { key, ids } = await stored([{}])
  const made = changeBy(callerOf(key), NOW)
  const send = () => changeSecrets(operatorDatabase(), made, ids, 'disable')
  expect(await send()).toMatchObject({ granted: 1 })
  await rowsOf(sql`UPDATE client_secrets SET disabled_at = NULL WHERE id = ${ids[0]}`)
  await send()
  expect(await stateOf(key, ids)).toMatchObject([{ disabled_at: null }])
  expect(await eventsOf(key)).toHaveLength(1)
})

test('a change of several secrets of another environment finds and changes none of them', async () => {
  const { key, ids } = await stored([{}])
  const { key: stranger, ids: own } = await stored([{}])
  const before = [await stateOf(key, ids), await stateOf(stranger, own)]
  expect(await change(stranger, ids, 'revoke')).toMatchObject({ refused: 'entity_not_found' })
  expect(await findSecrets(operatorDatabase(), callerOf(stranger), ids, NOW)).toMatchObject({
    refused: 'entity_not_found',
  })
  expect([await stateOf(key, ids), await stateOf(stranger, own)]).toEqual(before)
  expect([await eventsOf(key), await eventsOf(stranger)]).toEqual([[], []])
})

test('a read-only key can find several secrets, and cannot change them', async () => {
  const { key, ids } = await stored([{}, {}, {}])
  const { environmentId } = key
  const reader = await newApiKey({ environmentId, access: 'read' })
  const before = await stateOf(key, ids)
  expect(await change(reader, ids, 'revoke')).toMatchObject({ refused: 'forbidden' })
  expect([await stateOf(key, ids), await eventsOf(key)]).toEqual([before, []])
  const owner = await newApiKey({ environmentId, access: 'read', permissions: ['applications:write'] })
  for (const caller of [reader, owner]) {
    const found = await findSecrets(operatorDatabase(), callerOf(caller), ids.slice(0, 2), NOW)
    expect(found).toMatchObject({ granted: [{ id: ids[1] }, { id: ids[0] }] })
  }
})

test('a change of several secrets has deliveries if a webhook endpoint subscribes to its events', async () => {
  const { key, ids } = await stored([{}])
  await createWebhookEndpoint(operatorDatabase(), {
    id: newId('we', NOW),
    environmentId: key.environmentId,
    url: 'https://localhost/',
    events: [TYPES.disable],
    secret: 'of an endpoint',
    createdAt: NOW,
  })
  expect(await change(key, ids, 'disable')).toMatchObject({ granted: 1, hasDelivery: true })
  expect(await change(key, ids, 'disable')).toMatchObject({ granted: 0, hasDelivery: false })
  expect(await change(key, ids, 'revoke')).toMatchObject({ granted: 1, hasDelivery: false })
})
