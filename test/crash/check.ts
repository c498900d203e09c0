import { sha256, toHex } from '../../src/credential/digest.ts'
import type { Client, History } from './history.ts'

/** The rows of an application's secrets, and their events. */
export interface Stored {
  readonly secrets: readonly { readonly id: string; readonly digest: string; readonly revoked: 0 | 1 }[]
  /** Type and secret of each event since the cycle began. */
  readonly events: readonly { readonly type: string; readonly secret: string }[]
}

/** Secrets of an application, in each state, that are used afterwards. */
const USED_AFTERWARDS = 3
const CREATED = ['connect_application_secret.created', 'connect_application_secret.rotated']
const REVOKED = ['connect_application_secret.deleted']

/** Repeats, with its key, every change whose outcome is unknown. Gives the number of creations that have no key. */
export async function resolve(history: History, { send }: Pick<Client, 'send'>): Promise<number> {
  for (const { path, idempotencyKey } of history.unknown) {
    if (idempotencyKey === null) continue
    const { status, json } = await send('POST', path, { 'Idempotency-Key': idempotencyKey })
    // The application is full, so the first one took no effect: the secret of one that did is returned again.
    if (json?.code === 'client_secret_limit_reached') continue
    if (status !== 201) throw new Error(`POST ${path}, again: ${status} ${JSON.stringify(json)}`)
    history.secrets.push({ id: json.id, plaintext: json.secret, state: 'active' })
  }
  for (const secret of history.secrets.filter(({ state }) => state === 'unknown')) {
    const { status } = await send('DELETE', `/connect/client_secrets/${secret.id}`)
    if (status !== 204) throw new Error(`DELETE ${secret.id}, again: ${status}`)
    secret.state = 'revoked'
  }
  return history.unknown.filter(({ idempotencyKey }) => idempotencyKey === null).length
}

/** Compares what was acknowledged with what is stored, and gives a sentence for each difference. */
export async function check({ secrets }: History, stored: Stored, unknownCreates: number): Promise<string[]> {
  const problems: string[] = []
  const rows = new Map(stored.secrets.map((row) => [row.id, row]))
  const events = Map.groupBy(stored.events, ({ secret }) => secret)
  const expectEvents = (id: string, types: readonly string[], expected: 0 | 1) => {
    const found = events.get(id)?.filter(({ type }) => types.includes(type)).length ?? 0
    if (found !== expected) problems.push(`${id} has ${found} events ${types.join(' or ')} instead of ${expected}`)
  }
  for (const { id, plaintext, state } of secrets) {
    const row = rows.get(id)
    rows.delete(id)
    if (!row) {
      problems.push(`${id} was acknowledged, and is lost`)
      continue
    }
    if (row.digest.toLowerCase() !== toHex(await sha256(plaintext))) problems.push(`${id} has another digest`)
    if (Boolean(row.revoked) !== (state === 'revoked')) problems.push(`${id} should be ${state}`)
    expectEvents(id, CREATED, 1)
    expectEvents(id, REVOKED, state === 'revoked' ? 1 : 0)
  }
  if (rows.size > unknownCreates)
    problems.push(`${rows.size} secrets were stored without an acknowledgement, of ${unknownCreates} that were sent`)
  for (const id of rows.keys()) expectEvents(id, CREATED, 1)
  return problems
}

/** The number of the newest event, after which those of a run begin. */
export async function newestEvent(database: D1Database): Promise<number> {
  return (await database.prepare('SELECT max(seq) AS seq FROM events').first<number>('seq')) ?? 0
}

/** The stored secrets and events of an application. */
export async function storedOf(
  database: D1Database,
  { application }: Pick<History, 'application'>,
  newest: number,
): Promise<Stored> {
  const [secrets, events] = await database.batch<never>([
    database
      .prepare(
        'SELECT id, hex(digest) AS digest, revoked_at IS NOT NULL AS revoked FROM client_secrets WHERE application_id = ?',
      )
      .bind(application.id),
    database
      .prepare("SELECT type, data ->> 'id' AS secret FROM events WHERE seq > ? AND data ->> 'application_id' = ?")
      .bind(newest, application.id),
  ])
  return { secrets: secrets?.results ?? [], events: events?.results ?? [] }
}

/** Asks for a token with active secrets and with revoked ones. */
export async function useSome({ application, secrets }: History, { use }: Pick<Client, 'use'>): Promise<string[]> {
  const problems: string[] = []
  for (const [state, expected] of [
    ['active', 200],
    ['revoked', 401],
  ] as const) {
    for (const { id, plaintext } of secrets.filter((secret) => secret.state === state).slice(0, USED_AFTERWARDS)) {
      const status = await use(application.clientId, plaintext)
      if (status !== expected) problems.push(`${id} is ${state}, and gets ${status} at the token endpoint`)
    }
  }
  return problems
}
