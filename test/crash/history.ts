import { m2mApplication, secretsOf } from '../requests.ts'

/** The requests that the clients of one cycle sent, and the answers that they got before the runtime was killed. */

/** A client secret whose creation was acknowledged. */
interface Secret {
  readonly id: string
  readonly plaintext: string
  /** `unknown`: its revocation was sent, and whether it took effect is not known. */
  state: 'active' | 'revoked' | 'unknown'
}

/** A creation that was sent, and of which it is not known whether it took effect. */
interface UnknownCreate {
  readonly path: string
  /** Null where the client sent no Idempotency-Key. */
  readonly idempotencyKey: string | null
}

/** One application, and the one client that changes it. */
export interface History {
  readonly application: { readonly id: string; readonly clientId: string }
  readonly secrets: Secret[]
  readonly unknown: UnknownCreate[]
  acknowledged: { creates: number; rotations: number; revocations: number; uses: number }
}

/** Sends a request of the management API. Throws if there is no complete answer. */
export type Send = (method: string, path: string, headers?: Record<string, string>, body?: object) => Promise<Answer>

interface Answer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: bodies of different routes, compared with the database afterwards.
  readonly json: any
}

export interface Client {
  readonly send: Send
  /** Asks for a token, and gives the status. */
  readonly use: (clientId: string, plaintext: string) => Promise<number>
  /** From 0 to 1. */
  readonly random: () => number
}

/** Creates, uses, rotates and revokes until the runtime is gone. Adds what was acknowledged to `history`. */
export async function keepBusy(history: History, { send, use, random }: Client, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const choice = random()
    const active = history.secrets.filter(({ state }) => state === 'active')
    const chosen = active[Math.floor(random() * active.length)]
    if (choice < 0.1 && chosen && active.length > 1) await revoke(history, chosen, send)
    else if (choice < 0.2 && chosen) await tryUse(history, chosen, use)
    else if (choice < 0.25)
      await create(history, `${secretsOf(history.application.id)}/rotate`, crypto.randomUUID(), send)
    else await create(history, secretsOf(history.application.id), choice < 0.6 ? crypto.randomUUID() : null, send)
  }
}

export async function create(history: History, path: string, idempotencyKey: string | null, send: Send): Promise<void> {
  const answer = await answerOf(send('POST', path, idempotencyKey ? { 'Idempotency-Key': idempotencyKey } : {}))
  if (answer === 'unknown') history.unknown.push({ path, idempotencyKey })
  if (typeof answer === 'string') return
  if (answer.status !== 201) throw new Error(`POST ${path}: ${answer.status} ${JSON.stringify(answer.json)}`)
  history.secrets.push({ id: answer.json.id, plaintext: answer.json.secret, state: 'active' })
  history.acknowledged[path.endsWith('/rotate') ? 'rotations' : 'creates']++
}

export async function revoke({ acknowledged }: History, secret: Secret, send: Send): Promise<void> {
  const path = `/connect/client_secrets/${secret.id}`
  const answer = await answerOf(send('DELETE', path))
  if (typeof answer === 'string') {
    secret.state = answer === 'unchanged' ? 'active' : 'unknown'
    return
  }
  if (answer.status !== 204) throw new Error(`DELETE ${path}: ${answer.status} ${JSON.stringify(answer.json)}`)
  secret.state = 'revoked'
  acknowledged.revocations++
}

/** The answer to a change, or all that is known of it. That a 503 says "Nothing was changed" is believed, to test it. */
async function answerOf(sent: Promise<Answer>): Promise<Answer | 'unchanged' | 'unknown'> {
  const answer = await sent.catch(() => null)
  if (answer === null) return 'unknown'
  if (answer.status !== 503) return answer
  return /nothing was changed/i.test(answer.json?.message) ? 'unchanged' : 'unknown'
}

export async function tryUse(
  { application, acknowledged }: History,
  { id, plaintext }: Secret,
  use: Client['use'],
): Promise<void> {
  const status = await use(application.clientId, plaintext).catch(() => null)
  if (status === 200) acknowledged.uses++
  else if (status !== null && status !== 503)
    throw new Error(`the active secret ${id} got ${status} at the token endpoint`)
}

/** A new application, of which nothing is known yet. */
export async function newHistory(send: Send): Promise<History> {
  const { status, json } = await send('POST', '/connect/applications', {}, m2mApplication)
  if (status !== 201) throw new Error(`POST /connect/applications: ${status} ${JSON.stringify(json)}`)
  return {
    application: { id: json.id, clientId: json.client_id },
    secrets: [],
    unknown: [],
    acknowledged: { creates: 0, rotations: 0, revocations: 0, uses: 0 },
  }
}
