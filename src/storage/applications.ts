import sql, { raw, type Sql } from 'sql-template-tag'
import { runBatch, runChange } from './batch.ts'
import type { Caller, Change, Outcome } from './caller.ts'
import { environmentOf, isFrozen } from './caller-conditions.ts'
import type { Database, UnixMs } from './database.ts'
import { touchedSecrets } from './event-statements.ts'
import { hasMore } from './freeze.ts'
import {
  joinOriginal,
  type KeyedRequest,
  keyUnused,
  type OriginalRow,
  originalColumns,
  readOriginal,
  rememberRequest,
} from './idempotency.ts'
import { flag, json, mapping } from './mapping.ts'
import { isAscending, limitToPage, orderBy, type Page, type PageRequest, toPage } from './paging.ts'
import {
  allOf,
  BY_APPLICATION,
  countApplications,
  insert,
  limitTo,
  type Statement,
  select,
  selectFromFirst,
  update,
  updateDependent,
} from './statements.ts'
import { type CallerRow, type FoundChangeRow, type FoundRow, selectVerdict } from './verdicts.ts'

export interface RedirectUri {
  readonly uri: string
  readonly default: boolean
}

export interface Application {
  readonly id: string
  readonly clientId: string
  readonly applicationType: 'm2m' | 'oauth'
  readonly name: string
  readonly description: string | null
  readonly scopes: readonly string[]
  /** Null only for first-party OAuth applications. */
  readonly organizationId: string | null
  /** Empty for M2M applications. */
  readonly redirectUris: readonly RedirectUri[]
  readonly usesPkce: boolean
  readonly isFirstParty: boolean
  readonly createdAt: UnixMs
  readonly updatedAt: UnixMs
}

export type NewApplication = Omit<Application, 'createdAt' | 'updatedAt'>

/** The changes of an update. Undefined members stay unchanged. */
export interface ApplicationChanges {
  readonly name?: string | undefined
  readonly description?: string | null | undefined
  readonly scopes?: readonly string[] | undefined
  readonly redirectUris?: readonly RedirectUri[] | undefined
}

export interface ListOptions extends PageRequest {
  readonly organizationId: string | null
  /** A part of a name (case-insensitive for ASCII), a complete ID, or a complete client ID. */
  readonly search?: string
}

export const applicationMapping = mapping<Application>('applications', {
  id: 'id',
  clientId: 'client_id',
  applicationType: 'application_type',
  name: 'name',
  description: 'description',
  scopes: ['scopes', json],
  organizationId: 'organization_id',
  redirectUris: ['redirect_uris', json],
  usesPkce: ['uses_pkce', flag],
  isFirstParty: ['is_first_party', flag],
  createdAt: 'created_at',
  updatedAt: 'updated_at',
})
const { columns, snapshot, fromRow } = applicationMapping

/** A search by name reads at most this many applications per page. */
export const MAX_SEARCHED = 5_000

/** Condition: the application has this ID or client ID. Deleted applications match too. */
export function matchesApplication(id: string): Sql {
  return id.startsWith('client_') ? sql`applications.client_id = ${id}` : sql`applications.id = ${id}`
}

/** Condition: the application has all of these scopes. Without a list, the condition is always true. */
export function areScopesKnown(scopes: readonly string[] | null | undefined): Sql {
  if (!scopes?.length) return sql`true`
  return sql`NOT EXISTS (SELECT 1 FROM json_each(${JSON.stringify(scopes)})
    WHERE value NOT IN (SELECT value FROM json_each(applications.scopes)))`
}

/** Joins the application with this ID or client ID to the caller. */
function joinApplication(id: string): Sql {
  return sql`JOIN applications ON applications.environment_id = caller.environment_id AND ${matchesApplication(id)}`
}

/** Joins the application to the caller, unless it is deleted. */
export function joinLiveApplication(id: string): Sql {
  return sql`${joinApplication(id)} AND applications.deleted_at IS NULL`
}

/** Creates an application, if the environment has fewer than `limit` applications. */
export function createApplication(
  database: Database,
  change: Change,
  application: NewApplication,
  limit: number,
  request: KeyedRequest | null,
): Promise<
  Outcome<
    { application: Application; isReplay: boolean },
    'idempotency_key_reused' | 'application_deleted' | 'application_limit_reached' | 'service_unavailable'
  >
> {
  const row = {
    id: application.id,
    client_id: application.clientId,
    application_type: application.applicationType,
    name: application.name,
    description: application.description,
    scopes: JSON.stringify(application.scopes),
    organization_id: application.organizationId,
    redirect_uris: JSON.stringify(application.redirectUris),
    uses_pkce: Number(application.usesPkce),
    is_first_party: Number(application.isFirstParty),
  }
  const matches = sql`applications.id = ${application.id}`
  const source = sql`JOIN environments ON environments.id = caller.environment_id`
  const withinLimit = sql`environments.application_count < ${limit}`
  const where = sql`${withinLimit} AND ${keyUnused(change, request)}`
  const plan = {
    type: 'connect_application.created',
    statements: {
      inserted: insert(database, change, 'applications', row, source, where),
      counted: countApplications(change, 1, matches),
    },
    event: { table: 'applications', where: matches, data: snapshot },
    record: request && rememberRequest(change, request),
    columns: sql`${originalColumns(request)}, applications.deleted_at, ${withinLimit} AS is_within_limit`,
    joined: sql`${source} ${joinOriginal(change, request)} LEFT JOIN applications
      ON applications.environment_id = caller.environment_id AND applications.id = original.data ->> 'id'`,
  } as const
  type Verdict = OriginalRow & { readonly deleted_at: UnixMs | null; readonly is_within_limit: 0 | 1 }
  return runChange(database, change, plan, (verdict: Verdict) => {
    const original = readOriginal(verdict, change, request)
    if (!original) return { refused: verdict.is_within_limit ? 'service_unavailable' : 'application_limit_reached' }
    if (original.refused) return original
    if (verdict.deleted_at !== null) return { refused: 'application_deleted' }
    const { data, replayedFrom } = original.granted
    return { granted: { application: fromRow(data), isReplay: replayedFrom !== null } }
  })
}

export function findApplication(
  database: Database,
  caller: Caller,
  id: string,
): Promise<Outcome<Application, 'entity_not_found'>> {
  const verdict = selectVerdict<FoundRow>(caller, columns, sql`LEFT ${joinLiveApplication(id)}`)
  return runBatch(database, caller, 'secrets:read', { verdict }, ({ verdict }) =>
    verdict.id === null ? { refused: 'entity_not_found' } : { granted: fromRow(verdict) },
  )
}

/** Selects the verdict with the number of applications in the environment. */
export function selectApplicationCount(caller: Caller): Statement<CallerRow & { readonly application_count: number }> {
  return selectVerdict(
    caller,
    sql`(SELECT application_count FROM environments WHERE id = caller.environment_id) AS application_count`,
  )
}

/**
 * Returns a page of the environment's applications. They are ordered by ID, and so by creation time. `total` is the
 * number of all applications of the environment, whatever the filters are.
 */
export function listApplications(
  database: Database,
  caller: Caller,
  options: ListOptions,
): Promise<Outcome<Page<Application> & { readonly total: number }, 'invalid_cursor'>> {
  const { limit, cursor, organizationId, search } = options
  const [further, passed] = isAscending(options) ? ['>', '<='] : ['<', '>=']
  const index =
    `applications INDEXED BY applications_by_${organizationId === null ? 'creation' : 'organization'}` as const
  const listed = [
    sql`deleted_at IS NULL`,
    ...(organizationId === null ? [] : [sql`organization_id = ${organizationId}`]),
  ]
  const whereListed = allOf([...listed, ...(cursor ? [sql`id ${raw(further)} ${cursor.id}`] : [])])
  const wherePassed = (id: string) => allOf([...listed, sql`id ${raw(passed)} ${id}`])
  const inOrder = orderBy('id', options)
  const upTo = sql`${inOrder} ${limitToPage(options)}`
  const first = sql`${whereListed} ${inOrder} ${limitTo(MAX_SEARCHED)}`
  const whereFound = sql`WHERE instr(lower(name), lower(${search})) > 0 OR id = ${search} OR client_id = ${search}`
  const lastSearched = sql`${inOrder} LIMIT 1 OFFSET ${raw(`${MAX_SEARCHED - 1}`)}`
  const pages = {
    verdict: selectApplicationCount(caller),
    page:
      search === undefined
        ? select<FoundRow>(caller, columns, index, whereListed, upTo)
        : selectFromFirst<FoundRow>(caller, sql`*`, index, first, sql`${whereFound} ${upTo}`),
    ...(search === undefined
      ? {}
      : { searchedTo: select<FoundRow>(caller, sql`id`, index, whereListed, lastSearched) }),
    ...(cursor
      ? {
          previous: select(caller, sql`1`, index, wherePassed(cursor.id), sql`LIMIT 1`),
          cursorRow: select(caller, sql`1`, 'applications', sql`id = ${cursor.id}`),
        }
      : {}),
  }
  return runBatch(database, caller, 'secrets:read', pages, ({ verdict, page, searchedTo, previous, cursorRow }) => {
    if (cursorRow?.length === 0) return { refused: 'invalid_cursor' }
    const rows = page.slice(0, limit)
    const next = page.length > limit ? rows.at(-1)?.id : searchedTo?.[0]?.id
    const back = previous?.length === 1 ? rows[0]?.id : null
    return { granted: { ...toPage(options, rows.map(fromRow), next, back), total: verdict.application_count } }
  })
}

/**
 * Updates an application. If all values are already set, it succeeds without an event. In a frozen environment no
 * scopes can be added, because the secrets without a scope limit would get them.
 */
export function updateApplication(
  database: Database,
  change: Change,
  id: string,
  { name, description, scopes, redirectUris }: ApplicationChanges,
): Promise<
  Outcome<Application, 'entity_not_found' | 'environment_frozen' | 'redirect_uris_not_allowed' | 'service_unavailable'>
> {
  const values = Object.entries({
    name,
    description,
    scopes: scopes && JSON.stringify(scopes),
    redirect_uris: redirectUris && JSON.stringify(redirectUris),
  }).filter((entry): entry is [string, string | null] => entry[1] !== undefined)
  const set = values.map(([column, value]) => sql`${raw(column)} = ${value}`)
  const unchanged = sql`(${allOf(values.map(([column, value]) => sql`applications.${raw(column)} IS ${value}`))})`
  const allowed = redirectUris && redirectUris.length > 0 ? sql`application_type = 'oauth'` : sql`true`
  const matches = matchesApplication(id)
  const frozen = scopes
    ? sql`(${hasMore(scopes, 'applications.scopes')} AND ${isFrozen(raw('applications.environment_id'))})`
    : sql`false`
  const where = sql`${matches} AND applications.deleted_at IS NULL AND ${allowed} AND NOT ${unchanged} AND NOT ${frozen}`
  const plan = {
    type: 'connect_application.updated',
    statements: { updated: update(database, change, 'applications', set, where) },
    event: { table: 'applications', where: matches, data: snapshot },
    columns: sql`${columns}, ${allowed} AS is_allowed, ${unchanged} AS is_unchanged, ${frozen} AS is_frozen`,
    joined: sql`LEFT ${joinLiveApplication(id)}`,
  } as const
  type Verdict = FoundChangeRow & { is_allowed: 0 | 1; is_unchanged: 0 | 1; is_frozen: 0 | 1 }
  return runChange(database, change, plan, (verdict: Verdict) => {
    if (verdict.id === null) return { refused: 'entity_not_found' }
    if (!verdict.is_allowed) return { refused: 'redirect_uris_not_allowed' }
    if (verdict.is_done || verdict.is_unchanged) return { granted: fromRow(verdict) }
    return { refused: verdict.is_frozen ? 'environment_frozen' : 'service_unavailable' }
  })
}

/** Deletes an application and revokes its secrets, as one change with one event that lists them. Idempotent. */
export function deleteApplication(
  database: Database,
  change: Change,
  id: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const matches = matchesApplication(id)
  const alive = sql`${matches} AND deleted_at IS NULL`
  const ofDeleted = sql`revoked_at IS NULL AND application_id = (SELECT id FROM applications
    WHERE environment_id = ${environmentOf(change.caller)} AND ${matches} AND event_id = ${change.eventId})`
  const revoked = touchedSecrets(change, 'applications', 'id')
  const plan = {
    type: 'connect_application.deleted',
    statements: {
      deleted: update(database, change, 'applications', [sql`deleted_at = ${change.now}`], alive),
      revoked: updateDependent(
        change,
        'applications:write',
        BY_APPLICATION,
        [sql`revoked_at = ${change.now}`],
        ofDeleted,
      ),
      counted: countApplications(change, -1, matches),
    },
    event: { table: 'applications', where: matches, data: sql`json_set(${snapshot}, '$.client_secrets', ${revoked})` },
    columns: sql`applications.id, applications.deleted_at`,
    joined: sql`LEFT ${joinApplication(id)}`,
  } as const
  return runChange(database, change, plan, (verdict: FoundChangeRow & { deleted_at: UnixMs | null }) => {
    if (verdict.id === null) return { refused: 'entity_not_found' }
    return verdict.deleted_at === null ? { refused: 'service_unavailable' } : { granted: null }
  })
}
