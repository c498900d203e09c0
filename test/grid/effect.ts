import type { Row, Rows } from './world.ts'

/** The difference that a request makes to the rows of its environment, without what differs from run to run. */

/** Values that are written after a response when they are due. A lost one does no harm, because the next use repairs it. */
const LATER_COLUMNS = /^(last_used_|used_minutes$|history$|cursor$|delivered_count$)/
const LATER_EVENTS = /\.(replayed|refused|used_while_expiring)$/
const LATER_TABLE = 'webhook_deliveries'

/** A sentence for each row that was added, changed or removed, in a fixed order. */
export function effectOf(before: Rows, after: Rows): string[] {
  const found: string[] = []
  for (const [table, rows] of Object.entries(after)) {
    const old = new Map((before[table] ?? []).map((row) => [keyOf(row), row]))
    for (const row of rows) {
      const was = old.get(keyOf(row))
      old.delete(keyOf(row))
      if (!was) {
        if (table === LATER_TABLE || LATER_EVENTS.test(`${row.type}`)) continue
        found.push(`${table} + ${shown(row, Object.keys(row))}`)
        continue
      }
      const changed = Object.keys(row).filter((name) => JSON.stringify(row[name]) !== JSON.stringify(was[name]))
      const told = changed.filter((name) => !LATER_COLUMNS.test(name))
      if (told.length > 0) found.push(`${table} ~ ${shown(row, told)}`)
    }
    for (const row of old.values()) found.push(`${table} - ${shown(row, Object.keys(row))}`)
  }
  return found.sort()
}

/** True if a row of another environment, or anything at all, differs. */
export const isSame = (before: Rows, after: Rows): boolean => JSON.stringify(before) === JSON.stringify(after)

/** Sentences about uses and events that are there twice. */
export function doubled(after: Rows): string[] {
  const problems: string[] = []
  const seen = new Set<string>()
  for (const { id, type } of after.events ?? []) {
    if (seen.has(`${id}`)) problems.push(`the event ${id} is there twice`)
    if (/refused|used_while_expiring/.test(`${type}`) && seen.has(`${type}`))
      problems.push(`there are two events ${type} of one hour`)
    seen.add(`${id}`).add(`${type}`)
  }
  // A minute may begin between two requests.
  for (const { used_minutes, id } of after.client_secrets ?? [])
    if (Number(String(used_minutes ?? '0').slice(0, 4)) > 2) problems.push(`a use of ${id} was counted too often`)
  return problems
}

function keyOf(row: Row): string {
  const { id, endpoint_id, event_id, digest } = row
  return JSON.stringify(id ?? (endpoint_id === undefined ? digest : [endpoint_id, event_id]))
}

function shown(row: Row, names: readonly string[]): string {
  const columns = names.filter((name) => !LATER_COLUMNS.test(name))
  return columns.map((name) => `${name}=${normal(JSON.stringify(row[name]), name)}`).join(' ')
}

/** Without IDs, times, digests and other values that differ from run to run. */
export function normal(text: string, name = ''): string {
  if (name === 'secret_hint' || name === 'seq' || /^\[\d+(,\d+)+\]$/.test(text)) return '*'
  return text
    .replace(/\b(env|client|api_key|session|conn_app|secret|event|we)_[0-9A-HJKMNP-TV-Z]{26}/g, '$1_*')
    .replace(/\b(cs|sk|session|whsec)_[0-9A-Za-z]{50}/g, '$1_*')
    .replace(/([\da-z]{8,9}-)?\b[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}\b/g, '*')
    .replace(/\b10\.\d+\.\d+\.\d+\b/g, '*')
    .replace(/eyJ[\w-]+\.[\w-]+\.[\w-]+/g, '*')
    .replace(/(secret_hint\\?":\\?")[^"\\]*/g, '$1*')
    .replace(/…[0-9A-Za-z]{6}\b/g, '…*')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '*')
    .replace(/\d{10,16}/g, '*')
}
