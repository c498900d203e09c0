import type { Data } from './data.ts'
import { contestant, type Operation } from './operations.ts'
import type { Contestant } from './rounds.ts'
import type { Runtime } from './runtime.ts'
import { number, table } from './table.ts'
import type { SentRequest } from './workers/counting.ts'

/** The D1 work of one request, on average. */
export interface Counts {
  readonly requests: number
  /** Of these, how many follow the answer. */
  readonly requestsBehind: number
  readonly statements: number
  readonly rowsRead: number
  readonly rowsWritten: number
}

const REQUESTS = 10
/** Work after a response starts at once, and ends before the next request. */
const BEHIND_MS = 25

/** Sends an operation's requests to the Worker that counts, and gives what it sent to D1. */
export function sentBy(
  runtime: Runtime,
  worker: string,
  operation: Operation,
  data: Data,
  options = {},
): Promise<SentRequest[]> {
  const how = { runtime, worker, product: worker, data }
  return countSent(contestant(operation.name, operation, how), options)
}

/** The same of any Worker that counts. */
export async function countSent(
  { name, url, status, requests }: Contestant,
  { count = REQUESTS, pause = BEHIND_MS } = {},
): Promise<SentRequest[]> {
  const all = await requests(count + 1)
  for (const [i, { method, path, headers, body }] of all.entries()) {
    // The first request has done the work that is done once per isolate or per minute.
    if (i === 1) await sent(url)
    const response = await fetch(url + path, { method, headers, ...(body !== undefined && { body }) })
    if (response.status !== status) throw new Error(`${name}: ${response.status} ${await response.text()}`)
    await response.arrayBuffer()
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
  return sent(url)
}

/** The statements that the counting Worker has sent since the last call. */
export async function sent(url: string): Promise<SentRequest[]> {
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

/** A table of counts, with one more column for each of `more`. */
export function describeCounts(
  counts: ReadonlyMap<string, Counts>,
  more: Readonly<Record<string, (name: string, one: Counts) => string>> = {},
): string {
  const head = ['one request', 'D1 requests', 'behind', 'statements', 'rows read', 'rows written', ...Object.keys(more)]
  const rows = [...counts].map(([name, one]) => [
    name,
    number(one.requests - one.requestsBehind, 1),
    number(one.requestsBehind, 1),
    number(one.statements, 1),
    number(one.rowsRead, 1),
    number(one.rowsWritten, 1),
    ...Object.values(more).map((column) => column(name, one)),
  ])
  return table(head, rows)
}
