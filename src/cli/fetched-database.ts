/**
 * D1 for Node: each batch is one request to a Worker that has the database as a binding. Miniflare's own proxy would
 * block Node's main thread while it prepares a statement. Node would then not read the runtime's output, and as soon as
 * the pipe is full, Node and the runtime would wait for each other for ever.
 */
interface WireStatement {
  readonly sql: string
  /** BLOBs are arrays of numbers, as in the results of D1. */
  readonly values: unknown[]
}

/**
 * The source of the Worker. The path of a request names the binding of a database; the default is DB. Every user of
 * the machine can reach the Worker's port, so the Authorization header of a request must be the value of the binding
 * SECRET. Without this binding, as in tests, the Worker requires no header.
 */
export const databaseWorker = `export default {
  async fetch(request, env) {
    if (env.SECRET && request.headers.get('Authorization') !== env.SECRET) return new Response(null, { status: 403 })
    const database = env[new URL(request.url).pathname.slice(1) || 'DB']
    const statements = await request.json()
    const bind = ({ sql, values }) =>
      database.prepare(sql).bind(...values.map((value) => (Array.isArray(value) ? new Uint8Array(value) : value)))
    try {
      return Response.json(await database.batch(statements.map(bind)))
    } catch (error) {
      return new Response(error.message, { status: 500 })
    }
  },
}`

/** Sends a request to the Worker, by the `fetch` of Node or that of miniflare. */
type Fetch = (init: { method: 'POST'; body: string }) => Promise<{
  readonly ok: boolean
  readonly json: () => Promise<unknown>
  readonly text: () => Promise<string>
}>

/** The database behind the Worker, with only the methods of D1 that our code and tests call. */
export function fetchedDatabase(fetch: Fetch): D1Database {
  async function send(statements: readonly WireStatement[]): Promise<D1Result[]> {
    const response = await fetch({ method: 'POST', body: JSON.stringify(statements) })
    if (!response.ok) throw new Error(await response.text())
    return (await response.json()) as D1Result[]
  }

  const statement = (sql: string, values: unknown[]) => {
    const all = async () => (await send([{ sql, values }]))[0] as D1Result
    return {
      sql,
      values,
      bind: (...given: unknown[]) =>
        statement(
          sql,
          given.map((value) => (value instanceof Uint8Array ? [...value] : value)),
        ),
      all,
      run: all,
      first: async (column?: string) => {
        const row = ((await all()).results[0] ?? null) as Record<string, unknown> | null
        return column === undefined ? row : (row?.[column] ?? null)
      },
    }
  }
  const prepare = (sql: string) => statement(sql, [])
  const database = { prepare, batch: send, exec: (sql: string) => prepare(sql).run() }
  return database as unknown as D1Database
}
