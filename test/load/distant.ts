/**
 * A module in front of the Worker. Its database is in another process, runs one batch at a time, as D1 does, and takes some
 * milliseconds for each. A database in the Worker's own process would stop the Worker while it writes, so that requests
 * would wait in their sockets, where the Worker cannot see them.
 */
export const distantDatabase = (url: string, batchMs: number): string => `
import worker from '../../src/index.ts'
const statement = (sql, values) => ({
  sql,
  values,
  bind: (...given) => statement(sql, given.map((value) => (value instanceof Uint8Array ? [...value] : value))),
})
let free = 0
const DB = {
  prepare: (sql) => statement(sql, []),
  batch: async (statements) => {
    const now = Date.now()
    free = Math.max(free, now) + ${batchMs}
    await new Promise((resolve) => setTimeout(resolve, free - now))
    const response = await fetch('${url}', { method: 'POST', body: JSON.stringify(statements) })
    if (!response.ok) throw new Error(await response.text())
    return response.json()
  },
}
let distantEnv
export default {
  fetch: (request, env, context) => worker.fetch(request, (distantEnv ??= { ...env, DB }), context),
}`
