import worker from '../../../src/index.ts'

/** The product, with a count of what it asks of its database: for counts and query plans, never for times. */

export interface SentStatement {
  readonly sql: string
  /** What D1 says of it. */
  readonly rowsRead: number
  readonly rowsWritten: number
  /** Milliseconds. */
  readonly duration: number
}

/** One request to D1. */
export interface SentRequest {
  readonly statements: readonly SentStatement[]
  /** Whether an answer had gone out before. */
  readonly isBehindAnswer: boolean
}

const sent: SentRequest[] = []
let inFlight = 0
const sqlOf = new WeakMap<D1PreparedStatement, string>()

function note(sql: readonly string[], results: readonly D1Result[], isBehindAnswer: boolean): void {
  const statements = results.map(({ meta }, i) => ({
    sql: sql[i] ?? '',
    rowsRead: meta.rows_read,
    rowsWritten: meta.rows_written,
    duration: meta.duration,
  }))
  sent.push({ statements, isBehindAnswer })
}

/** Everything that sends a statement: `batch`, or the statement itself. */
function counted(binding: D1Database): D1Database {
  return new Proxy(binding, {
    get(target, property) {
      if (property === 'prepare') return (sql: string) => countedStatement(target.prepare(sql), sql)
      if (property === 'batch') {
        return async (statements: D1PreparedStatement[]) => {
          const isBehindAnswer = inFlight === 0
          const results = await target.batch(statements.map((statement) => real.get(statement) ?? statement))
          note(
            statements.map((statement) => sqlOf.get(statement) ?? ''),
            results,
            isBehindAnswer,
          )
          return results
        }
      }
      if (property === 'withSession') {
        return (constraint: D1SessionConstraint) => counted(target.withSession(constraint) as unknown as D1Database)
      }
      throw new Error(`the Worker used D1Database.${String(property)}`)
    },
  })
}

const real = new WeakMap<D1PreparedStatement, D1PreparedStatement>()

function countedStatement(statement: D1PreparedStatement, sql: string): D1PreparedStatement {
  const proxy = new Proxy(statement, {
    get(target, property) {
      if (property === 'bind') return (...values: unknown[]) => countedStatement(target.bind(...values), sql)
      if (property === 'all' || property === 'run') {
        return async () => {
          const isBehindAnswer = inFlight === 0
          const result = await target.all()
          note([sql], [result], isBehindAnswer)
          return result
        }
      }
      throw new Error(`the Worker used D1PreparedStatement.${String(property)}`)
    },
  })
  real.set(proxy, statement)
  sqlOf.set(proxy, sql)
  return proxy
}

let countedEnv: Env | undefined

export default {
  async fetch(request: Request, env: Env, context: ExecutionContext): Promise<Response> {
    if (new URL(request.url).pathname === '/bench/sent') return Response.json(sent.splice(0))
    countedEnv ??= { ...env, DB: counted(env.DB) }
    inFlight++
    try {
      return await worker.fetch(request as Request<unknown, IncomingRequestCfProperties>, countedEnv, context)
    } finally {
      inFlight--
    }
  },

  async scheduled(controller: ScheduledController, env: Env, context: ExecutionContext): Promise<void> {
    await worker.scheduled(controller, { ...env, DB: counted(env.DB) }, context)
  },
}
