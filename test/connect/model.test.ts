import { env } from 'cloudflare:workers'
import { afterEach, expect, test, vi } from 'vitest'
import { newApiKey, newApplication } from '../api.ts'
import { stopClock } from '../clock.ts'
import fc from '../property.ts'
import { seed, size } from '../sizes.ts'
import { commands, list, type Real, verify } from './secret-commands.ts'
import { SecretModel } from './secret-model.ts'

/**
 * Random histories of one application's secrets, in which replies are lost, the database fails and time passes, agree
 * with a plain model in every response, and at their end in the list, in the secrets that verify and in the events.
 */
const HISTORIES = size(20, 2_000)
const LENGTH = { maxCommands: 30, size: 'max' } as const

/** Outcomes that the histories must have reached, or they would prove less than the title says. */
const REACHED = [
  '201',
  '201 replay',
  '200',
  '204',
  '404 entity_not_found',
  'disable: client_secret_expired',
  'undo: client_secret_limit_reached',
  'extend: client_secret_limit_reached',
  '422 client_secret_limit_reached',
  '422 client_secret_revoked',
  '422 client_secret_expired',
  '422 idempotency_key_reused',
  'cleanup removed a secret',
]

const { apiKey } = await newApiKey()
const { id: applicationId } = await newApplication(apiKey)

afterEach(() => vi.unstubAllGlobals())

async function newHistory(seen: Set<string>): Promise<{ model: SecretModel; real: Real }> {
  const tables = ['idempotency_records', 'events', 'client_secrets']
  await env.DB.batch(tables.map((table) => env.DB.prepare(`DELETE FROM ${table}`)))
  const model = new SecretModel(stopClock())
  return { model, real: { apiKey, applicationId, plaintexts: new Map(), sent: [], seen } }
}

interface Recorded {
  readonly type: string
  readonly ids: string[]
}

/** Expiries recorded by one cleanup have no order among themselves. */
function comparable(events: Recorded[]): Recorded[] {
  const all: Recorded[] = []
  for (const { type, ids } of events) {
    const last = all.at(-1)
    if (type.endsWith('.expired') && last?.type === type) last.ids.push(...ids)
    else all.push({ type, ids: [...new Set(ids)] })
  }
  for (const { ids } of all) ids.sort()
  return all
}

async function listEvents(): Promise<Recorded[]> {
  const { results } = await env.DB.prepare('SELECT type, data FROM events ORDER BY seq').all<{
    type: string
    data: string
  }>()
  return results.map(({ type, data }) => {
    const { id, client_secrets = [] } = JSON.parse(data)
    const others = client_secrets.map((secret: { id: string }) => secret.id)
    return { type, ids: id ? [id, ...others] : others }
  })
}

test(`in ${HISTORIES} random histories of one application’s secrets, the API does what a simple model predicts (seed ${seed})`, async () => {
  const { setTimeout } = globalThis
  // The Worker pauses before it retries: all histories together would wait for minutes.
  vi.stubGlobal('setTimeout', (run: () => void, ms: number) => setTimeout(run, ms < 100 ? 0 : ms))
  // A line for each of thousands of requests would bury the history that failed.
  vi.spyOn(console, 'log').mockImplementation(() => {})
  const seen = new Set<string>()
  const histories = fc.asyncProperty(fc.commands(commands, LENGTH), async (history) => {
    const { model, real } = await newHistory(seen)
    await fc.asyncModelRun(() => ({ model, real }), history)
    await list(model, real)
    for (const secret of [...model.removed, ...model.secrets]) await verify(secret, model, real)
    const expected = model.events.map(({ type, secrets }) => ({ type, ids: secrets.map(({ id }) => id) }))
    const ofChanges = (await listEvents()).filter(
      ({ type }) => type !== 'connect_application_secret.used_while_expiring',
    )
    expect(comparable(ofChanges)).toEqual(comparable(expected))
  })
  await fc.assert(histories, { numRuns: HISTORIES, unbiased: true })
  expect([...seen]).toEqual(expect.arrayContaining(REACHED))
})
