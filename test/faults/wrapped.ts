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

/** Counts the trips, and keeps the text of every statement. Nothing but `batch` may make one. */
export function counted(binding: D1Database) {
  const sql: string[] = []
  const counter = { trips: 0, sql }
  const database = new Proxy(binding, {
    get(target, property) {
      if (property === 'prepare') {
        return (text: string) => {
          sql.push(text)
          return target.prepare(text)
        }
      }
      if (property === 'batch') {
        return (statements: D1PreparedStatement[]) => {
          counter.trips++
          return target.batch(statements)
        }
      }
      throw new Error(`a request used D1Database.${String(property)}`)
    },
  })
  return Object.assign(counter, { database })
}

/** Fails every batch that has a statement like `pattern`, before it reaches the database. */
export function failingAt(binding: D1Database, pattern: RegExp, fault: unknown) {
  const counter = { failures: 0 }
  // What is prepared is sent at once: one request at a time.
  let prepared: string[] = []
  const database = new Proxy(binding, {
    get(target, property) {
      if (property === 'prepare') {
        return (text: string) => {
          prepared.push(text)
          return target.prepare(text)
        }
      }
      return async (statements: D1PreparedStatement[]) => {
        const isHit = prepared.some((text) => pattern.test(text))
        prepared = []
        if (!isHit) return target.batch(statements)
        counter.failures++
        throw fault
      }
    },
  })
  return Object.assign(counter, { database })
}
