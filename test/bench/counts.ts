import type { Data } from './data.ts'
import { type Operation, requestsOf } from './operations.ts'
import type { Runtime } from './runtime.ts'
import type { SentRequest } from './workers/counting.ts'

/** What one request asks of D1, on average. */
export interface Counts {
  readonly requests: number
  /** Of these, how many follow the answer. */
  readonly requestsBehind: number
  readonly statements: number
  readonly rowsRead: number
  readonly rowsWritten: number
}

const REQUESTS = 20
const BEHIND_MS = 40

/** Sends requests to the Worker that counts, and gives what it sent to D1. */
export async function sentBy(
  runtime: Runtime,
  worker: string,
  operation: Operation,
  data: Data,
  { count = REQUESTS, pause = BEHIND_MS } = {},
): Promise<SentRequest[]> {
  const url = runtime.url(worker)
  const requests = await requestsOf(operation, data, { measured: url, product: url }, count)
  await sent(url)
  for (const { method, path, headers, body } of requests) {
    const response = await fetch(url + path, { method, headers, ...(body !== undefined && { body }) })
    if (response.status !== operation.status)
      throw new Error(`${operation.name}: ${response.status} ${await response.text()}`)
    await response.arrayBuffer()
    // What follows an answer follows at once, and is over before the next request.
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
  return sent(url)
}

async function sent(url: string): Promise<SentRequest[]> {
  return (await (await fetch(`${url}/bench/sent`)).json()) as SentRequest[]
}

export function countsOf(requests: readonly SentRequest[], count = REQUESTS): Counts {
  const statements = requests.flatMap((request) => request.statements)
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0) / count
  return {
    requests: requests.length / count,
    requestsBehind: requests.filter(({ isBehindAnswer }) => isBehindAnswer).length / count,
    statements: statements.length / count,
    rowsRead: sum(statements.map(({ rowsRead }) => rowsRead)),
    rowsWritten: sum(statements.map(({ rowsWritten }) => rowsWritten)),
  }
}
