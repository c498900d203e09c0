/** One statement, and what D1 says of it. */
export interface SentStatement {
  readonly sql: string
  /** BLOBs as arrays of numbers. */
  readonly values: readonly unknown[]
  readonly rowsRead: number
  readonly rowsWritten: number
  /** Milliseconds. */
  readonly duration: number
}

type Text = Pick<SentStatement, 'sql' | 'values'>

/** Called as a request to D1 is sent; gives what is called with the statements once D1 has answered. */
type OnRequest = () => (statements: readonly SentStatement[]) => void

/** A database binding that tells of each request. Whatever it does not know throws, so that nothing goes uncounted. */
export function counted(binding: D1Database, onRequest: OnRequest): D1Database {
  return new Proxy(binding, {
    get(target, property) {
      if (property === 'prepare')
        return (sql: string) => countedStatement(target.prepare(sql), { sql, values: [] }, onRequest)
      if (property === 'batch') {
        return async (statements: D1PreparedStatement[]) => {
          const onAnswer = onRequest()
          const known = statements.map((statement) => originals.get(statement))
          const results = await target.batch(known.map((one, i) => one?.statement ?? (statements[i] as never)))
          onAnswer(results.map((result, i) => sentStatement(known[i]?.text ?? { sql: '', values: [] }, result)))
          return results
        }
      }
      if (property === 'withSession') {
        return (constraint: D1SessionConstraint) =>
          counted(target.withSession(constraint) as unknown as D1Database, onRequest)
      }
      return refuse(property)
    },
  })
}

/** The real statement behind each counted one: `batch` takes no other. */
const originals = new WeakMap<D1PreparedStatement, { statement: D1PreparedStatement; text: Text }>()

function countedStatement(statement: D1PreparedStatement, text: Text, onRequest: OnRequest): D1PreparedStatement {
  const proxy = new Proxy(statement, {
    get(target, property) {
      if (property === 'bind') {
        return (...values: unknown[]) => countedStatement(target.bind(...values), { ...text, values }, onRequest)
      }
      if (property === 'all' || property === 'run') {
        return async () => {
          const onAnswer = onRequest()
          const result = await target.all()
          onAnswer([sentStatement(text, result)])
          return result
        }
      }
      return refuse(property)
    },
  })
  originals.set(proxy, { statement, text })
  return proxy
}

/** Properties that any object may be asked for: whether it is a promise, what kind it is, how it looks as JSON. */
const HARMLESS = new Set<string | symbol>(['then', 'constructor', 'toJSON'])

function refuse(property: string | symbol): undefined {
  if (typeof property === 'symbol' || HARMLESS.has(property)) return undefined
  throw new Error(`D1's ${property} is not counted`)
}

function sentStatement({ sql, values }: Text, { meta }: D1Result): SentStatement {
  const plain = values.map((value) => (value instanceof Uint8Array ? [...value] : value))
  return { sql, values: plain, rowsRead: meta.rows_read, rowsWritten: meta.rows_written, duration: meta.duration }
}
