import { env } from 'cloudflare:workers'
import fc from 'fast-check'
import { afterEach, expect, test, vi } from 'vitest'
import { newApiKey, newApplication } from '../api.ts'
import { stopClock } from '../clock.ts'
import { commands, list, type Real, verify } from './secret-commands.ts'
import { SecretModel } from './secret-model.ts'

/**
 * Random histories of one application's secrets, in which replies are lost, storage fails and time passes, agree with a
 * plain model in every answer, and at their end in the list, in what verifies and in the events. The long form, and
 * histories that failed:
 *
 *     MODEL_HISTORIES=2000 npm test -- test/connect/model
 *     MODEL_SEED=-123456789 npm test -- test/connect/model
 */
const HISTORIES = Number(env.MODEL_HISTORIES)
const SEED = env.MODEL_SEED === '' ? Math.trunc((Math.random() - 0.5) * 2 ** 32) : Number(env.MODEL_SEED)
const LENGTH = { maxCommands: 30, size: 'max' } as const
const TIMEOUT_MS = 60_000 + HISTORIES * 500

/** Without these, as many histories as CI tries would have shown less than they claim. */
const MET_SOONER_OR_LATER = [
  '201',
  '201 replay',
  '200',
  '204',
  '404 entity_not_found',
  'disable: client_secret_expired',
  'undo: client_secret_limit_reached',
  '422 client_secret_limit_reached',
  '422 client_secret_revoked',
  '422 idempotency_key_reused',
  'housekeeping removed a secret',
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

interface Told {
  readonly type: string
  readonly ids: string[]
}

/** Expiries that one run of housekeeping has noted have no order among themselves. */
function comparable(events: Told[]): Told[] {
  const all: Told[] = []
  for (const { type, ids } of events) {
    const last = all.at(-1)
    if (type.endsWith('.expired') && last?.type === type) last.ids.push(...ids)
    else all.push({ type, ids: [...new Set(ids)] })
  }
  for (const { ids } of all) ids.sort()
  return all
}

async function listEvents(): Promise<Told[]> {
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

test(
  `${HISTORIES} histories of secrets agree with a model, from seed ${SEED}`,
  async () => {
    const { setTimeout } = globalThis
    // The Worker pauses before it tries again: all histories together would wait for minutes.
    vi.stubGlobal('setTimeout', (run: () => void, ms: number) => setTimeout(run, ms < 100 ? 0 : ms))
    const seen = new Set<string>()
    const histories = fc.asyncProperty(fc.commands(commands, LENGTH), async (history) => {
      const { model, real } = await newHistory(seen)
      await fc.asyncModelRun(() => ({ model, real }), history)
      await list(model, real)
      for (const secret of [...model.removed, ...model.secrets]) await verify(secret, model, real)
      const expected = model.events.map(({ type, secrets }) => ({ type, ids: secrets.map(({ id }) => id) }))
      expect(comparable(await listEvents())).toEqual(comparable(expected))
    })
    await fc.assert(histories, { numRuns: HISTORIES, seed: SEED, unbiased: true })
    if (HISTORIES >= 200) expect([...seen]).toEqual(expect.arrayContaining(MET_SOONER_OR_LATER))
  },
  TIMEOUT_MS,
)
