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
 * All secrets of an environment, also those that are expired or revoked until cleanup removes them. IDs sort by creation,
 * so a list is a range of the table. Filters have no index, which each create would have to write: a page reads at most
 * `MAX_READ` rows of that range, and its cursor leads on from there.
 */

const DAY_MS = 24 * 60 * 60 * 1000

/** A page of a filtered list reads at most this many secrets. Counts end here, too. */
export const MAX_READ = 5_000

/** `used` lists the longest unused secrets first, and `expires` those that expire soonest. */
export type SecretOrder = 'desc' | 'asc' | 'used' | 'expires'

export interface ListSecretsOptions extends Omit<PageRequest, 'order'> {
  /** In the orders `used` and `expires`, a cursor leads forwards only. */
  readonly order: SecretOrder
  readonly filter: SecretFilter
  /** Secrets that one page may read. */
  readonly maxRead?: number
}

/**
 * The table, or the index that finds the filtered rows directly, and the condition for it. If there are more rows than a
 * page may read, `indexOrder` puts those first that matter most; null for the table.
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
    return { source, where: sql`leak_reported_at > 0`, indexOrder: sql`ORDER BY leak_reported_at DESC` }
  }
  return { source: 'client_secrets', where: sql`true`, indexOrder: null } as const
}

/** The keys by which a list is ordered, before the ID. */
const KEYS = {
  used: raw('coalesce(last_used_at, 0)'),
  expires: raw('coalesce(expires_at, 9e15)'),
} as const

export interface SecretPage extends Page<ListedSecret> {
  /** True if there are more secrets than a page reads (`maxRead`): the pages together may lack some. */
  readonly isCut: boolean
}

/** A page of the environment's secrets, in the order of their creation or of a key. */
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

/** A page, the numbers of secrets by what people look for, and the API keys that a filter may name. */
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
  // An ID has the time of the creation: a secret that was created later cannot be unused for so long.
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

/** Condition: the row comes after the secret with this ID, in the order of a key. */
function isAfter(caller: Caller, key: Sql, id: string): Sql {
  return sql`(${key}, id) > ((SELECT ${key} FROM client_secrets
    WHERE environment_id = ${environmentOf(caller)} AND id = ${id}), ${id})`
}

interface PageRows {
  readonly page: readonly ListedRow[]
  /** The last row that the page has searched; none if it has searched all rows. */
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

/** Counts the newest secrets of the environment in one pass. */
function countStatement(caller: Caller, filter: SecretFilter, now: UnixMs): Statement<SecretCounts> {
  const newest = sql`true ORDER BY id DESC LIMIT ${raw(`${MAX_READ + 1}`)}`
  return selectFromFirst(caller, countColumns(filter, now), 'client_secrets', newest, empty)
}
