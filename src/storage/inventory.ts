import sql, { empty, raw, type Sql } from 'sql-template-tag'
import { startOfIds } from '../credential/id.ts'
import { type CallerKey, callerKeyMapping, selectCallerKeys } from './api-keys.ts'
import { runBatch } from './batch.ts'
import type { Caller, Outcome } from './caller.ts'
import { environmentOf } from './caller-conditions.ts'
import { endsIn } from './client-secrets.ts'
import type { Database, UnixMs } from './database.ts'
import {
  conditionsOf,
  countColumns,
  type ListedRow,
  type ListedSecret,
  listedColumns,
  listedFromRow,
  type SecretCounts,
  type SecretFilter,
} from './listed-secrets.ts'
import { isAscending, limitToPage, orderBy, type Page, type PageRequest, toPage } from './paging.ts'
import { allOf, BY_APPLICATION, limitTo, type Statement, select, selectFromFirst, selectSorted } from './statements.ts'

/**
 * Lists all secrets of an environment. Expired and revoked secrets are included until cleanup removes them. IDs sort by
 * creation time, so a page is a range of the table. Most filters have no index, because every create would have to
 * write the index too. A page reads at most `MAX_READ` rows of the range, and the next page continues after them.
 */

const DAY_MS = 24 * 60 * 60 * 1000

/** Maximum number of secrets that a page of a filtered list, or a count, reads. */
export const MAX_READ = 5_000

/** `used` puts the secrets first that have been unused for longest. `expires` puts those first that expire soonest. */
export type SecretOrder = 'desc' | 'asc' | 'used' | 'expires'

export interface ListSecretsOptions extends Omit<PageRequest, 'order'> {
  /** With the orders `used` and `expires`, a cursor can only lead to the next page. */
  readonly order: SecretOrder
  readonly filter: SecretFilter
  /** Maximum number of secrets that one page reads. */
  readonly maxRead?: number
}

/**
 * Returns the table, or an index for this filter, and the condition that its rows must meet. If an index has more such
 * rows than a page may read, `indexOrder` decides which ones are read. For the table, `indexOrder` is null.
 */
function sourceOf({ applicationId, hint, isLeaked }: SecretFilter) {
  if (hint !== null) {
    const source = 'client_secrets INDEXED BY client_secrets_by_hint' as const
    return { source, where: endsIn(hint.slice(-6)), indexOrder: empty }
  }
  if (applicationId !== null)
    return { source: BY_APPLICATION, where: sql`application_id = ${applicationId}`, indexOrder: empty } as const
  if (isLeaked) {
    const source = 'client_secrets INDEXED BY client_secrets_leaked' as const
    return { source, where: sql`leak_reported_at IS NOT NULL`, indexOrder: sql`ORDER BY leak_reported_at DESC` }
  }
  return { source: 'client_secrets', where: sql`true`, indexOrder: null } as const
}

/** SQL for the sort keys. Secrets with the same key are sorted by ID. */
const KEYS = {
  used: raw('coalesce(last_used_at, 0)'),
  expires: raw('coalesce(expires_at, 9e15)'),
} as const

export interface SecretPage extends Page<ListedSecret> {
  /** True if there are more secrets than a page may read (`maxRead`), so that the pages may lack some secrets. */
  readonly isCut: boolean
}

/** Returns a page of the environment's secrets. */
export function listSecrets(
  database: Database,
  caller: Caller,
  options: ListSecretsOptions,
  now: UnixMs,
): Promise<Outcome<SecretPage, 'invalid_cursor'>> {
  const { cursor } = options
  const statements = {
    ...pageStatements(caller, options, now),
    ...(cursor ? { cursorRow: select(caller, sql`1`, 'client_secrets', sql`id = ${cursor.id}`) } : {}),
  }
  return runBatch(database, caller, 'secrets:read', statements, ({ cursorRow, ...rows }) =>
    cursorRow?.length === 0 ? { refused: 'invalid_cursor' } : { granted: readPage(options, rows) },
  )
}

/** A page, the numbers of secrets in each group that the dashboard shows, and the API keys that a filter can select. */
export interface SecretSurvey extends SecretPage {
  readonly counts: SecretCounts
  readonly keys: readonly CallerKey[]
}

export function surveySecrets(
  database: Database,
  caller: Caller,
  options: ListSecretsOptions,
  now: UnixMs,
): Promise<Outcome<SecretSurvey>> {
  const statements = {
    ...pageStatements(caller, options, now),
    counts: countStatement(caller, options.filter, now),
    keys: selectCallerKeys(caller),
  }
  return runBatch(database, caller, 'secrets:read', statements, ({ counts, keys, ...rows }) => ({
    granted: {
      ...readPage(options, rows),
      counts: counts[0] as SecretCounts,
      keys: keys.map(callerKeyMapping.fromRow),
    },
  }))
}

function pageStatements(caller: Caller, options: ListSecretsOptions, now: UnixMs) {
  const { order, cursor, filter, maxRead = MAX_READ } = options
  const conditions = conditionsOf(filter, now)
  const { source, where, indexOrder } = sourceOf(filter)
  const bounds = [where]
  // An ID contains the creation time. A secret created less than `unusedForDays` days ago cannot match.
  if (filter.unusedForDays !== null)
    bounds.push(sql`id < ${startOfIds('secret', now - filter.unusedForDays * DAY_MS + 1)}`)
  const first = (inOrder: Sql) => sql`${allOf(bounds)} ${indexOrder ?? inOrder} ${limitTo(maxRead)}`
  const cut = select(caller, sql`1`, source, allOf(bounds), sql`LIMIT 1 OFFSET ${raw(`${maxRead}`)}`)
  if (order === 'used' || order === 'expires') {
    const key = KEYS[order]
    const passed = cursor ? [...conditions, isAfter(caller, key, cursor.id)] : conditions
    const rest = sql`WHERE ${allOf(passed)} ORDER BY ${key}, id ${limitToPage({ ...options, order: 'asc' })}`
    return {
      page: selectSorted<ListedRow>(caller, listedColumns(now), source, first(sql`ORDER BY id DESC`), rest),
      cut,
    }
  }
  const request = { ...options, order }
  const inOrder = orderBy('id', request)
  const [further, passed] = isAscending(request) ? ['>', '<='] : ['<', '>=']
  if (cursor) bounds.push(sql`id ${raw(further)} ${cursor.id}`)
  const rest = sql`WHERE ${allOf(conditions)} ${inOrder} ${limitToPage(request)}`
  const lastRead = sql`${inOrder} LIMIT 1 OFFSET ${raw(`${maxRead - 1}`)}`
  const isBounded = indexOrder !== null || conditions.length === 0
  return {
    page: selectFromFirst<ListedRow>(caller, listedColumns(now), source, first(inOrder), rest),
    ...(indexOrder ? { cut } : {}),
    ...(isBounded ? {} : { readTo: select<{ id: string }>(caller, sql`id`, source, allOf(bounds), lastRead) }),
    ...(cursor
      ? { previous: select(caller, sql`1`, source, sql`${where} AND id ${raw(passed)} ${cursor.id}`, sql`LIMIT 1`) }
      : {}),
  }
}

/** Condition: the row comes after the secret with this ID, in the order of `key`. */
function isAfter(caller: Caller, key: Sql, id: string): Sql {
  return sql`(${key}, id) > ((SELECT ${key} FROM client_secrets
    WHERE environment_id = ${environmentOf(caller)} AND id = ${id}), ${id})`
}

interface PageRows {
  readonly page: readonly ListedRow[]
  /** The last row that the search has read; empty if it has read all rows. */
  readonly readTo?: readonly { readonly id: string }[]
  readonly cut?: readonly unknown[]
  readonly previous?: readonly unknown[]
}

function readPage(options: ListSecretsOptions, { page, readTo, cut, previous }: PageRows): SecretPage {
  const { limit, order } = options
  const secrets = page.slice(0, limit).map(listedFromRow)
  const next = page.length > limit ? secrets.at(-1)?.id : readTo?.[0]?.id
  const back = previous?.length === 1 ? secrets[0]?.id : null
  const shown = toPage({ ...options, order: order === 'desc' ? order : 'asc' }, secrets, next, back)
  return { ...shown, isCut: cut?.length === 1 }
}

/** Counts the newest secrets of the environment, in one scan. */
function countStatement(caller: Caller, filter: SecretFilter, now: UnixMs): Statement<SecretCounts> {
  const newest = sql`true ORDER BY id DESC LIMIT ${raw(`${MAX_READ + 1}`)}`
  return selectFromFirst(caller, countColumns(filter, now), 'client_secrets', newest, empty)
}
