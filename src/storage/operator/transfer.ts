import sql, { join, raw, type Sql } from 'sql-template-tag'
import { type Database, query, sendBatch } from '../database.ts'

/** Reads the rows of one environment page by page, and inserts them into another database. */

/**
 * The tables that move with an environment, in the order of the export file. API keys are inserted last, so that no
 * caller can change an incomplete environment.
 */
export const MOVED_TABLES = [
  'environments',
  'applications',
  'client_secrets',
  'webhook_endpoints',
  'events',
  'api_keys',
] as const
export type MovedTable = (typeof MOVED_TABLES)[number]

/** The tables that do not move, and the reason. A test fails if a table of the schema is in neither list. */
export const LEFT_TABLES = {
  sessions: 'people sign in again',
  webhook_deliveries: 'only what is still under way is missing',
  idempotency_records: 'they last for an hour',
  schema_version: 'it belongs to the database',
} as const

/** A stored row. BLOBs are hexadecimal. */
export type Row = Readonly<Record<string, string | number | null>>

/** The columns of each table in the schema, without generated columns. */
export type Columns = Readonly<Record<MovedTable, readonly Column[]>>

export interface Column {
  readonly name: string
  readonly isBlob: boolean
}

/** The columns that order the pages. Each page is a range of an index or of the table, so it reads no other rows. */
const KEYS: Readonly<Record<MovedTable, readonly string[]>> = {
  environments: ['id'],
  applications: ['id'],
  client_secrets: ['id'],
  webhook_endpoints: ['created_at', 'id'],
  events: ['seq'],
  api_keys: ['created_at', 'id'],
}

/** Columns that are left out of an export without digests. They authenticate clients or callers, or sign webhooks. */
const CREDENTIALS: Partial<Record<MovedTable, readonly string[]>> = {
  client_secrets: ['digest'],
  webhook_endpoints: ['secret'],
  api_keys: ['digest'],
}

/**
 * Reads the columns of the tables that move. They come from the schema, so that columns of later migrations are
 * included.
 */
export async function readColumns(database: Database): Promise<Columns> {
  const rows = await sendBatch(
    database,
    Object.fromEntries(
      MOVED_TABLES.map((table) => [
        table,
        query<{ name: string; type: string }>(
          sql`SELECT name, type FROM pragma_table_xinfo(${table}) WHERE hidden = 0 ORDER BY cid`,
        ),
      ]),
    ),
  )
  const columnsOf = (table: MovedTable) =>
    (rows[table] ?? []).map(({ name, type }) => ({ name, isBlob: type === 'BLOB' }))
  return Object.fromEntries(MOVED_TABLES.map((table) => [table, columnsOf(table)])) as unknown as Columns
}

/** Returns the columns of a table that are in an export. */
export function exportedColumns(columns: Columns, table: MovedTable, hasDigests: boolean): readonly Column[] {
  const left = hasDigests ? [] : (CREDENTIALS[table] ?? [])
  return columns[table].filter(({ name }) => !left.includes(name))
}

/** Returns the page of rows that follows `after`, in the order of the export file. */
export async function readPage(
  database: Database,
  table: MovedTable,
  columns: readonly Column[],
  environmentId: string,
  after: Row | null,
  limit: number,
): Promise<Row[]> {
  const key = raw(KEYS[table].join(', '))
  const values = after && KEYS[table].map((name) => after[name] ?? null)
  const beyond = values ? sql`AND (${key}) > (${join(values)})` : sql``
  const { page } = await sendBatch(database, {
    page: query<Row>(sql`SELECT ${selected(columns)} FROM ${raw(table)}
      WHERE ${ofEnvironment(table, environmentId)} ${beyond} ORDER BY ${key} LIMIT ${raw(String(limit))}`),
  })
  return page
}

/** Returns the rows with these IDs. */
export async function readRows(
  database: Database,
  table: MovedTable,
  columns: readonly Column[],
  environmentId: string,
  ids: readonly string[],
): Promise<Row[]> {
  const { rows } = await sendBatch(database, {
    rows: query<Row>(sql`SELECT ${selected(columns)} FROM ${raw(table)}
      WHERE ${ofEnvironment(table, environmentId)} AND id IN (${valuesOf(ids)}) ORDER BY id`),
  })
  return rows
}

/**
 * Returns the `seq` of the latest event in the database. When an export ends, it reads again all objects that later
 * events are about.
 */
export async function lastSeq(database: Database): Promise<number> {
  const { last } = await sendBatch(database, {
    last: query<{ seq: number }>(sql`SELECT coalesce(max(seq), 0) AS seq FROM events`),
  })
  return last[0]?.seq ?? 0
}

/**
 * Reads the next events of the environment after `seq`, up to `limit`. Returns the IDs of the objects that they are
 * about, and the `seq` of the last event.
 */
export async function readChangedIds(
  database: Database,
  environmentId: string,
  seq: number,
  limit: number,
): Promise<{ ids: string[]; seq: number | null }> {
  const { events } = await sendBatch(database, {
    events: query<{ seq: number; data: string }>(sql`SELECT seq, data FROM events
      WHERE environment_id = ${environmentId} AND seq > ${seq} ORDER BY seq LIMIT ${raw(String(limit))}`),
  })
  const ids = events.flatMap(({ data }) => {
    const { id, client_secrets } = JSON.parse(data) as { id?: string; client_secrets?: { id: string }[] }
    return [...(id === undefined ? [] : [id]), ...(client_secrets ?? []).map((secret) => secret.id)]
  })
  return { ids: [...new Set(ids)], seq: events.at(-1)?.seq ?? null }
}

/** Counts the pending deliveries of an environment, up to 1,000. They are not exported. */
export async function countPendingDeliveries(database: Database, environmentId: string): Promise<number> {
  const { pending } = await sendBatch(database, {
    pending: query(sql`SELECT 1 FROM webhook_deliveries INDEXED BY webhook_deliveries_due
      WHERE endpoint_id IN (SELECT id FROM webhook_endpoints WHERE environment_id = ${environmentId} AND deleted_at IS NULL)
      AND state = 'pending' LIMIT 1000`),
  })
  return pending.length
}

/** The outcome for the rows of a page. */
export interface Inserted {
  readonly added: number
  readonly present: number
  /** The IDs of rows that were not inserted, because a different row has the same ID, client ID or digest. */
  readonly conflicting: readonly string[]
}

/** Inserts the rows that do not exist yet. Existing rows are not changed. */
export async function insertRows(
  database: Database,
  table: MovedTable,
  columns: readonly Column[],
  environmentId: string,
  rows: readonly Row[],
): Promise<Inserted> {
  const ids = rows.map(({ id }) => String(id))
  const list = raw(columns.map(({ name }) => name).join(', '))
  const values = columns.map(({ name, isBlob }) => (isBlob ? `unhex(value ->> '${name}')` : `value ->> '${name}'`))
  const { before, added } = await sendBatch(database, {
    before: query(
      sql`SELECT 1 FROM ${raw(table)} WHERE ${ofEnvironment(table, environmentId, true)} AND id IN (${valuesOf(ids)})`,
    ),
    added:
      query(sql`INSERT INTO ${raw(table)} (${list}) SELECT ${raw(values.join(', '))} FROM json_each(${JSON.stringify(rows)})
      WHERE true ON CONFLICT DO NOTHING RETURNING 1`),
  })
  const present = before.length
  if (added.length + present === rows.length) return { added: added.length, present, conflicting: [] }
  const { found } = await sendBatch(database, {
    found: query<{ id: string }>(sql`SELECT id FROM ${raw(table)}
      WHERE ${ofEnvironment(table, environmentId, true)} AND id IN (${valuesOf(ids)})`),
  })
  const known = new Set(found.map(({ id }) => id))
  return { added: added.length, present, conflicting: ids.filter((id) => !known.has(id)) }
}

/**
 * Returns the events in the same order, each with its `seq` in this database. An event keeps its `seq` if that number
 * is free here, and otherwise gets the next free number. Events that are already stored keep their stored `seq`.
 * `after` is the last number that was assigned.
 */
export async function freeSeqs(database: Database, events: readonly Row[], after: number): Promise<Row[]> {
  const ids = events.map(({ id }) => String(id))
  const { present } = await sendBatch(database, {
    present: query<{ id: string; seq: number }>(sql`SELECT id, seq FROM events WHERE id IN (${valuesOf(ids)})`),
  })
  const fixed = new Map(present.map(({ id, seq }) => [id, seq]))
  const taken = new Set<number>()
  for (;;) {
    let last = after
    const placed = events.map((event): Row & { readonly seq: number } => {
      const known = fixed.get(String(event.id))
      let seq = known ?? Math.max(Number(event.seq), last + 1)
      while (known === undefined && taken.has(seq)) seq++
      last = seq
      return { ...event, seq }
    })
    const wanted = placed.filter(({ id }) => !fixed.has(String(id))).map(({ seq }) => seq)
    const { found } = await sendBatch(database, {
      found: query<{ seq: number }>(sql`SELECT seq FROM events WHERE seq IN (${valuesOf(wanted)})`),
    })
    if (found.length === 0) return placed
    for (const { seq } of found) taken.add(seq)
  }
}

/** Updates the number of the environment's applications, which is compared with the limit. */
export async function recountApplications(database: Database, environmentId: string): Promise<void> {
  await sendBatch(database, {
    counted: query(sql`UPDATE environments SET application_count = (SELECT count(*) FROM applications
        INDEXED BY applications_by_creation WHERE environment_id = environments.id AND deleted_at IS NULL)
      WHERE id = ${environmentId}`),
  })
}

function selected(columns: readonly Column[]): Sql {
  return raw(columns.map(({ name, isBlob }) => (isBlob ? `lower(hex(${name})) AS ${name}` : name)).join(', '))
}

/**
 * Condition: the row belongs to the environment. Unless `isAny` is set, deleted webhook endpoints are left out, because
 * their secret has been removed.
 */
function ofEnvironment(table: MovedTable, environmentId: string, isAny = false): Sql {
  if (table === 'environments') return sql`id = ${environmentId}`
  const listed = table === 'webhook_endpoints' && !isAny ? sql` AND deleted_at IS NULL` : sql``
  return sql`environment_id = ${environmentId}${listed}`
}

function valuesOf(list: readonly (string | number)[]): Sql {
  return sql`SELECT value FROM json_each(${JSON.stringify(list)})`
}
