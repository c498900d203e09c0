import sql from 'sql-template-tag'
import { expect, test } from 'vitest'
import { startOfIds } from '../../src/credential/id.ts'
import { findSecretDetails } from '../../src/storage/secret-details.ts'
import { newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { type SecretRow, storeSecrets } from '../connect/inventory-rows.ts'
import { m2mApplication } from '../requests.ts'
import { callerOf, type Key, rowsOf } from './changes.ts'

const NOW = Date.now()
const HOUR_MS = 60 * 60_000
const key = await newApiKey()
const details = (id: string, caller: Key = key) => findSecretDetails(operatorDatabase(), callerOf(caller), id, NOW)

test.each<[string, Partial<SecretRow>[], number]>([
  ['no other secret', [], 0],
  ['two active secrets', [{}, {}], 2],
  ['a secret that expires later', [{ expiresAt: NOW + 1 }], 1],
  ['an expired secret', [{ expiresAt: NOW }], 0],
  ['a secret that a rotation will expire', [{ expiresAt: NOW + 1, retiresAt: NOW + 1 }], 0],
  ['a disabled secret', [{ disabledAt: NOW }], 0],
  ['a revoked secret', [{ revokedAt: NOW }], 0],
])('the details of a secret count the other active secrets of its application: %s', async (_, others, count) => {
  const [application, other] = [await newApplication(key.apiKey), await newApplication(key.apiKey)]
  await storeSecrets(key.environmentId, other.id, [{ createdAt: NOW }])
  const rows = [{}, ...others].map((row) => ({ createdAt: NOW, ...row }))
  const [id = ''] = await storeSecrets(key.environmentId, application.id, rows)
  expect(await details(id)).toMatchObject({ granted: { secret: { id }, otherActive: count } })
})

test.each([
  ['m2m', m2mApplication],
  ['oauth', { name: 'x', application_type: 'oauth', is_first_party: true }],
])(
  'the details of a secret have the type of its application, and say whether the application is deleted: %s',
  async (type, body) => {
    const { id: application } = await newApplication(key.apiKey, body)
    const [id = ''] = await storeSecrets(key.environmentId, application, [{ createdAt: NOW }])
    expect(await details(id)).toMatchObject({ granted: { applicationType: type, isOrphaned: false } })
    await rowsOf(sql`UPDATE applications SET deleted_at = ${NOW} WHERE id = ${application}`)
    expect(await details(id)).toMatchObject({ granted: { applicationType: type, isOrphaned: true } })
  },
)

test('there are no details of an unknown secret, or of a secret of another environment', async () => {
  const { id: application } = await newApplication(key.apiKey)
  const [id = ''] = await storeSecrets(key.environmentId, application, [{ createdAt: NOW }])
  expect(await details(id, await newApiKey())).toMatchObject({ refused: 'entity_not_found' })
  expect(await details('secret_unknown')).toMatchObject({ refused: 'entity_not_found' })
})

test('the history of a secret has the events whose IDs are derived from its ID, newest first, each with the data of the secret before the event', async () => {
  const { id: application } = await newApplication(key.apiKey)
  const [id = ''] = await storeSecrets(key.environmentId, application, [{ createdAt: NOW - HOUR_MS }])
  const hour = NOW - (NOW % HOUR_MS)
  const end = id.slice(-16)
  const expired = `event${id.slice('secret'.length)}`
  const refused = [0, 7 * 24 - 1].map((hours) => startOfIds('event', hour - hours * HOUR_MS) + end)
  const tooOld = startOfIds('event', hour - 7 * 24 * HOUR_MS) + end
  for (const [event, data] of [
    [tooOld, {}],
    [refused[1], { id, name: 'first' }],
    [refused[0], { id: 'another secret' }],
    [expired, { id }],
  ] as const)
    await rowsOf(sql`INSERT INTO events (seq, id, environment_id, type, data, created_at)
      VALUES ((SELECT max(seq) + 1 FROM events), ${event}, ${key.environmentId}, 'x', ${JSON.stringify(data)}, 1)`)
  const result = await details(id)
  const history = result.refused === undefined && result.granted.history
  const before = { id, name: 'first' }
  expect(history).toMatchObject([
    { event: { id: expired }, before },
    { event: { id: refused[0] }, before },
    { event: { id: refused[1] }, before: null },
  ])
})

test('a key without the permission to read secrets gets no details', async () => {
  const { id: application } = await newApplication(key.apiKey)
  const [id = ''] = await storeSecrets(key.environmentId, application, [{ createdAt: NOW }])
  const limited = await newApiKey({ environmentId: key.environmentId, permissions: ['events:read'] })
  expect(await details(id, limited)).toMatchObject({ refused: 'forbidden' })
})
