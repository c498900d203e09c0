import type { WorkOS } from '@workos-inc/node'
import { describe, expect, test, vi } from 'vitest'
import { sha256 } from '../../src/credential/digest.ts'
import { newApiKey } from '../operator.ts'
import { ORGANIZATION } from '../requests.ts'
import { serve } from '../served.ts'
import { PATIENCE } from '../sizes.ts'
import { type Fate, lossyNetwork } from './lossy-network.ts'
import { workosAt } from './workos.ts'

const LATE: Fate = 'reply later than the client waits'

const served = await serve()
const { fetch, origins, database } = served
const { apiKey } = await newApiKey(database)
const { connect } = workosAt(origins[0], apiKey, { fetch })

/** Calls through a network that treats the SDK's attempts by these fates, in order. */
async function through<T>(fates: readonly Fate[], call: (workos: WorkOS) => Promise<T>) {
  const network = await lossyNetwork(origins[0], fetch, fates)
  try {
    // Longer than a busy machine takes to answer, no longer than three losses in a row.
    const timeout = fates.includes(LATE) ? { timeout: 5_000 } : {}
    const workos = workosAt(network.origin, apiKey, { fetch: globalThis.fetch, ...timeout })
    return { result: await call(workos), exchanges: network.exchanges }
  } finally {
    network.close()
  }
}

const rows = async (query: string, ...values: string[]) =>
  (
    await database
      .prepare(query)
      .bind(...values)
      .all<Record<string, unknown>>()
  ).results
const secretRows = (application: string) =>
  rows('SELECT id, digest, revoked_at FROM client_secrets WHERE application_id = ?', application)
const events = async (id: string) =>
  (await rows(`SELECT type FROM events WHERE data ->> 'id' = ? ORDER BY seq`, id)).map(({ type }) => type)

const newApplication = () => connect.createM2MApplication('Nightly export', ORGANIZATION)

const FATES: Fate[][] = [
  ['lost before it arrives'],
  ['answered 503 in HTML before it arrives'],
  ['reply lost'],
  ['reply replaced by 502 in HTML'],
  ['reply replaced by 503 in HTML'],
  [LATE],
  ['reply lost', 'reply lost'],
  ['reply lost', 'reply lost', 'reply lost'],
  ['lost before it arrives', 'reply replaced by 503 in HTML', 'reply lost'],
]

describe.concurrent.each(FATES.map((fates) => ({ fates, title: fates.join(', ') })))(
  'when attempts fail: $title',
  ({ fates }) => {
    /** How many attempts reach the Worker, the last one included. */
    const arrivals = fates.filter((fate) => fate.startsWith('reply')).length + 1

    test('the SDK has created one secret and received its plaintext', async () => {
      const { id } = await newApplication()
      const { result, exchanges } = await through(fates, ({ connect }) => connect.createApplicationClientSecret({ id }))
      const [row, ...others] = await secretRows(id)
      expect(others).toEqual([])
      expect(row?.id).toBe(result.id)
      expect(row?.digest).toEqual([...(await sha256(result.secret))])
      const replays = Array.from({ length: arrivals - 1 }, () => 'connect_application_secret.replayed')
      const expected = ['connect_application_secret.created', ...replays]
      await vi.waitFor(async () => expect(await events(result.id)).toEqual(expected), PATIENCE)
      expect(exchanges).toEqual(
        Array.from({ length: arrivals }, (_, i) => ({
          idempotencyKey: exchanges[0]?.idempotencyKey,
          status: 201,
          isReplay: i > 0,
        })),
      )
    })

    test('the SDK has created one application', async () => {
      const name = crypto.randomUUID()
      const { result } = await through(fates, ({ connect }) => connect.createM2MApplication(name, ORGANIZATION))
      expect(await rows('SELECT id FROM applications WHERE name = ?', name)).toEqual([{ id: result.id }])
      expect(await events(result.id)).toEqual(['connect_application.created'])
      expect(await connect.getApplication({ id: result.id })).toEqual(result)
    })

    test('the SDK has revoked the secret, with one event', async () => {
      const { id } = await newApplication()
      const secret = await connect.createApplicationClientSecret({ id })
      const { exchanges } = await through(fates, ({ connect }) => connect.deleteClientSecret({ id: secret.id }))
      expect(exchanges.map(({ status }) => status)).toEqual(Array(arrivals).fill(204))
      expect(await secretRows(id)).toMatchObject([{ id: secret.id, revoked_at: expect.any(Number) }])
      expect(await events(secret.id)).toEqual([
        'connect_application_secret.created',
        'connect_application_secret.deleted',
      ])
    })

    test('the SDK has deleted the application and its secrets, with one event', async () => {
      const { id } = await newApplication()
      const secret = await connect.createApplicationClientSecret({ id })
      const { exchanges } = await through(fates, ({ connect }) => connect.deleteApplication({ id }))
      expect(exchanges.map(({ status }) => status)).toEqual(Array(arrivals).fill(204))
      expect(await secretRows(id)).toMatchObject([{ id: secret.id, revoked_at: expect.any(Number) }])
      expect(await events(id)).toEqual(['connect_application.created', 'connect_application.deleted'])
      await expect(connect.getApplication({ id })).rejects.toMatchObject({ status: 404 })
    })
  },
)

describe.concurrent('a call of the SDK that fails although the secret was created', () => {
  test('if the SDK’s retries are used up, the next call with the same Idempotency-Key returns the secret that was created', async () => {
    const { id } = await newApplication()
    const path = `/connect/applications/${id}/client_secrets`
    const idempotencyKey = crypto.randomUUID()
    const lost: Fate[] = ['reply lost', 'reply replaced by 503 in HTML', 'reply lost', 'reply lost']
    await expect(through(lost, (workos) => workos.post(path, {}, { idempotencyKey }))).rejects.toThrow('fetch failed')
    const { data } = await workosAt(origins[0], apiKey, { fetch }).post<{ id: string; secret: string }, object>(
      path,
      {},
      { idempotencyKey },
    )
    expect(await secretRows(id)).toEqual([{ id: data.id, digest: [...(await sha256(data.secret))], revoked_at: null }])
  })

  test('if a reply is cut in half, the next call with the same Idempotency-Key returns the secret that was created', async () => {
    const { id } = await newApplication()
    const path = `/connect/applications/${id}/client_secrets`
    const idempotencyKey = crypto.randomUUID()
    const create = (workos: WorkOS) => workos.post<{ id: string; secret: string }, object>(path, {}, { idempotencyKey })
    await expect(through(['reply cut in half'], create)).rejects.toThrow('terminated')
    const { result } = await through([], create)
    const { data } = result
    expect(await secretRows(id)).toEqual([{ id: data.id, digest: [...(await sha256(data.secret))], revoked_at: null }])
  })
})
