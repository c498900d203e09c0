/** Wrappers around the real D1 binding: what goes wrong goes wrong on its way to or from a database that works. */

type Batch = D1Database['batch']

/** The binding with another `batch`, which is given the real one. */
export function withBatch(
  binding: D1Database,
  batch: (real: Batch, statements: D1PreparedStatement[]) => Promise<unknown>,
) {
  return new Proxy(binding, {
    get(target, property) {
      if (property === 'batch') {
        return (statements: D1PreparedStatement[]) => batch(target.batch.bind(target), statements)
      }
      const value = Reflect.get(target, property)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** D1 as it answers in production, where its `meta` tells more than here. */
export function withMeta(binding: D1Database, meta: object) {
  return withBatch(binding, async (real, statements) => {
    const results = await real(statements)
    return results.map((result) => ({ ...result, meta: { ...result.meta, ...meta } }))
  })
}

/** Counts D1 requests, statements and rows, and keeps the text of every statement. Only `batch` may make a request. */
export function counted(binding: D1Database) {
  const sql: string[] = []
  const counter = { trips: 0, statements: 0, rowsRead: 0, rowsWritten: 0, sql }
  const database = new Proxy(binding, {
    get(target, property) {
      if (property === 'prepare') {
        return (text: string) => {
          sql.push(text)
          return target.prepare(text)
        }
      }
      if (property === 'batch') {
        return async (statements: D1PreparedStatement[]) => {
          counter.trips++
          counter.statements += statements.length
          const results = await target.batch(statements)
          for (const { meta } of results) {
            counter.rowsRead += meta.rows_read
            counter.rowsWritten += meta.rows_written
          }
          return results
        }
      }
      throw new Error(`a request used D1Database.${String(property)}`)
    },
  })
  return Object.assign(counter, { database })
}

/** Loses the reply to the first batch. `before` runs when it has been committed, before it is sent again. */
export function losingFirstReply(binding: D1Database, before: () => Promise<unknown> = async () => {}) {
  const counter = { batches: 0 }
  const database = withBatch(binding, async (real, statements) => {
    const results = await real(statements)
    if (++counter.batches > 1) return results
    await before()
    throw new Error('D1_ERROR: Network connection lost.')
  })
  return Object.assign(counter, { database })
}

/** Fails every batch that has a statement like `pattern`, before it reaches the database. */
export function failingAt(binding: D1Database, pattern: RegExp, fault: unknown) {
  const counter = { failures: 0 }
  const hits = new WeakSet<D1PreparedStatement>()
  const database = new Proxy(binding, {
    get(target, property) {
      if (property === 'prepare') {
        return (text: string) => {
          const statement = target.prepare(text)
          if (!pattern.test(text)) return statement
          return {
            bind: (...values: unknown[]) => {
              const bound = statement.bind(...values)
              hits.add(bound)
              return bound
            },
          }
        }
      }
      return async (statements: D1PreparedStatement[]) => {
        if (!statements.some((statement) => hits.has(statement))) return target.batch(statements)
        counter.failures++
        throw fault
      }
    },
  })
  return Object.assign(counter, { database })
}
