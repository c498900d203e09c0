import sql from 'sql-template-tag'
import { expect, test } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { listWebhooks, reviveDelivery, reviveEndpoint } from '../../src/storage/webhooks.ts'
import { newApiKey, operatorDatabase } from '../api.ts'
import { callerOf, changeBy, type Key, rowsOf } from './changes.ts'

/** The webhook endpoints of an environment and their deliveries, beside those of others. */

const NOW = Date.now()

async function newEndpoint({ environmentId }: Key, createdAt = NOW): Promise<string> {
  const id = newId('we', createdAt)
  const endpoint = { id, environmentId, url: 'https://hooks.example/', events: [], secret: id, createdAt }
  await createWebhookEndpoint(operatorDatabase(), endpoint)
  await rowsOf(sql`DELETE FROM events WHERE environment_id = ${environmentId}`)
  return id
}

/** Stores a delivery for each time, each with its number of attempts, and returns the IDs of their events. */
async function store({ environmentId }: Key, endpointId: string, state: string, times: readonly number[]) {
  const ids = times.map((time) => newId('event', time))
  for (const [i, id] of ids.entries())
    await rowsOf(sql`INSERT INTO webhook_deliveries
      (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at, last_outcome, created_at)
      VALUES (${endpointId}, ${id}, ${environmentId}, ${state}, ${i + 1}, ${NOW + i}, ${`50${i}`}, ${times[i]})`)
  return ids
}

const statesOf = async (endpointId: string) =>
  (await rowsOf(sql`SELECT state FROM webhook_deliveries WHERE endpoint_id = ${endpointId} ORDER BY event_id`)).map(
    ({ state }) => state,
  )

test('the list of webhooks has the endpoints, oldest first, with their times and their numbers of deliveries', async () => {
  const key = await newApiKey()
  const [newer, older] = [await newEndpoint(key), await newEndpoint(key, NOW - 1)]
  const deleted = await newEndpoint(key)
  await newEndpoint(await newApiKey())
  await store(key, older, 'pending', [1, 2, 3])
  await store(key, older, 'dead', [4, 5])
  await rowsOf(sql`UPDATE webhook_endpoints SET paused_at = 6, leak_reported_at = 7, delivered_count = 8,
    events = '["api_key.created"]' WHERE id = ${older}`)
  await rowsOf(sql`UPDATE webhook_endpoints SET deleted_at = 9 WHERE id = ${deleted}`)
  const url = 'https://hooks.example/'
  expect(await listWebhooks(operatorDatabase(), callerOf(key), 0)).toMatchObject({
    granted: {
      endpoints: [
        {
          ...{ id: older, url, events: ['api_key.created'], createdAt: NOW - 1, pausedAt: 6, leakReportedAt: 7 },
          deliveries: { pending: 3, delivered: 8, dead: 2 },
        },
        {
          ...{ id: newer, url, events: [], createdAt: NOW, pausedAt: null, leakReportedAt: null },
          deliveries: { pending: 0, delivered: 0, dead: 0 },
        },
      ],
      deliveries: [],
    },
  })
})

test('the list of webhooks has the latest deliveries, newest first, and the next attempt only of pending ones', async () => {
  const key = await newApiKey()
  const endpointId = await newEndpoint(key)
  const other = await newApiKey()
  await store(other, await newEndpoint(other), 'dead', [NOW])
  const [, pending] = await store(key, endpointId, 'pending', [1, 3])
  const [dead = ''] = await store(key, endpointId, 'dead', [2])
  await rowsOf(sql`INSERT INTO events (seq, id, environment_id, type, data, created_at)
    VALUES ((SELECT coalesce(max(seq), 0) + 1 FROM events), ${dead}, ${key.environmentId}, 'api_key.created', '{}', 2)`)
  const result = await listWebhooks(operatorDatabase(), callerOf(key), 2)
  expect(result.refused === undefined && result.granted.deliveries).toEqual([
    {
      ...{ endpointId, eventId: pending, eventType: null, state: 'pending', attempts: 2 },
      ...{ nextAttemptAt: NOW + 1, lastOutcome: '501', createdAt: 3 },
    },
    {
      ...{ endpointId, eventId: dead, eventType: 'api_key.created', state: 'dead', attempts: 1 },
      ...{ nextAttemptAt: null, lastOutcome: '500', createdAt: 2 },
    },
  ])
})

test.each([
  ['one failed delivery', true, ['pending', 'dead', 'delivered']],
  ['all failed deliveries of an endpoint', false, ['pending', 'pending', 'delivered']],
] as const)('%s can be made pending again, and a second attempt changes nothing', async (_, isOne, expected) => {
  const key = await newApiKey()
  const [endpointId, other] = [await newEndpoint(key), await newEndpoint(key)]
  const [eventId = ''] = await store(key, endpointId, 'dead', [1, 2])
  await store(key, endpointId, 'delivered', [3])
  await store(key, other, 'dead', [4])
  const revive = (caller: Key, endpoint = endpointId) => {
    const change = changeBy(callerOf(caller), NOW)
    return isOne
      ? reviveDelivery(operatorDatabase(), change, { endpointId: endpoint, eventId })
      : reviveEndpoint(operatorDatabase(), change, endpoint)
  }
  const stranger = await newApiKey()
  const reader = await newApiKey({ environmentId: key.environmentId, access: 'read' })
  expect(await revive(stranger)).toMatchObject({ refused: 'entity_not_found' })
  expect(await revive(key, 'we_unknown')).toMatchObject({ refused: 'entity_not_found' })
  expect(await revive(reader)).toMatchObject({ refused: 'forbidden' })
  expect(await statesOf(endpointId)).toEqual(['dead', 'dead', 'delivered'])
  for (const _ of [1, 2]) {
    expect(await revive(key)).toMatchObject({ granted: null })
    expect([await statesOf(endpointId), await statesOf(other)]).toEqual([expected, ['dead']])
  }
})
