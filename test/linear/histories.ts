import type { Plant } from '../grid/plants.ts'
import { newApiKey } from '../operator.ts'
import { randomFrom } from '../random.ts'
import { m2mApplication, secretsOf } from '../requests.ts'
import type { Operation } from './checker.ts'

interface Options {
  /** Where Workers over the one database listen. Clients call any of them. */
  readonly urls: readonly string[]
  readonly database: D1Database
  readonly seed: number
  readonly secrets: number
  /** A fault of the product, at every request. */
  readonly plant?: Plant
}

const CLIENTS = 6
const OPERATIONS_OF_CLIENT = 3
/** Secrets that are used at the same time. */
const AT_ONCE = 4

/** Creates secrets, and lets several clients use, disable, enable and revoke each at once. Gives the history of each. */
export async function recordHistories({ urls, database, seed, secrets, plant }: Options): Promise<Operation[][]> {
  const random = randomFrom(seed)
  const pick = <T>(all: readonly T[]) => all[Math.floor(random() * all.length)] as T
  const { apiKey } = await newApiKey(database)

  async function send(method: string, path: string, body: unknown, authorization = `Bearer ${apiKey}`) {
    const isForm = body instanceof URLSearchParams
    const response = await fetch(pick(urls) + path, {
      method,
      headers: {
        Authorization: authorization,
        ...(!isForm && { 'Content-Type': 'application/json' }),
        ...(plant && { Grid: JSON.stringify({ plant }) }),
      },
      ...(body !== undefined && { body: isForm ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, json: text === '' ? {} : JSON.parse(text) }
  }

  const { json: application } = await send('POST', '/connect/applications', m2mApplication)

  async function historyOfSecret(): Promise<Operation[]> {
    const history: Operation[] = []
    /** Records one operation. `read` tells its result from the answer; undefined if the answer does not tell. */
    async function record<Answer extends { readonly status: number }>(
      kind: Operation['kind'],
      request: () => Promise<Answer>,
      read: (answer: Answer) => boolean | undefined,
    ): Promise<Answer> {
      const start = performance.now()
      const answer = await request()
      const isDone = read(answer)
      if (isDone === undefined && answer.status !== 503) throw new Error(`${kind}: ${JSON.stringify(answer)}`)
      const result = isDone === undefined ? 'unknown' : isDone ? 'done' : 'refused'
      history.push({ kind, result, start, end: performance.now() })
      return answer
    }
    const byStatus = (done: number, refused: number) => (answer: { readonly status: number }) =>
      answer.status === done ? true : answer.status === refused ? false : undefined

    const created = await record('create', () => send('POST', secretsOf(application.id), {}), byStatus(201, 404))
    const { id, secret } = created.json as { id: string; secret: string }
    const path = `/connect/client_secrets/${id}`
    const basic = `Basic ${btoa(`${application.client_id}:${secret}`)}`
    const grant = new URLSearchParams({ grant_type: 'client_credentials' })
    const verify = () => send('POST', '/connect/client_secrets/verify', { client_secret: secret })
    const change = (disabled: boolean) => () => send('PATCH', path, { disabled })
    const token = () => record('use', () => send('POST', '/oauth2/token', grant, basic), byStatus(200, 401))
    const operations = [
      token,
      token,
      () => record('use', verify, ({ status, json }) => (status === 200 ? json.valid : undefined)),
      () => record('disable', change(true), byStatus(200, 404)),
      () => record('enable', change(false), byStatus(200, 404)),
    ]
    const client = async (nth: number) => {
      for (let i = 0; i < OPERATIONS_OF_CLIENT; i++) await pick(operations)()
      if (nth === 0) await record('revoke', () => send('DELETE', path, undefined), byStatus(204, 404))
      if (nth <= 1) await token()
    }
    await Promise.all(Array.from({ length: CLIENTS }, (_, nth) => client(nth)))
    return history
  }

  const histories: Operation[][] = []
  const lane = async () => {
    while (histories.length < secrets) {
      const place = histories.push([]) - 1
      histories[place] = await historyOfSecret()
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  return histories
}
