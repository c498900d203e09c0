import sql, { raw, type Sql } from 'sql-template-tag'
import { runBatch } from './batch.ts'
import type { Caller, Change, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import {
  joinOriginal,
  type KeyedRequest,
  keyUnused,
  type OriginalRow,
  originalColumns,
  readOriginal,
  rememberRequest,
} from './idempotency.ts'
import {
  allOf,
  type CallerRow,
  type ChangeRow,
  columnsOf,
  countApplications,
  environmentOf,
  insert,
  limitTo,
  recordEvent,
  select,
  selectChangeVerdict,
  selectFromFirst,
  selectVerdict,
  snapshotOf,
  touchedSecrets,
  update,
  updateDependent,
} from './statements.ts'

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
  /** Null on first-party oauth applications only. */
  readonly organizationId: string | null
  /** Empty on m2m. */
  readonly redirectUris: readonly RedirectUri[]
  readonly usesPkce: boolean
  readonly isFirstParty: boolean
  readonly createdAt: UnixMs
  readonly updatedAt: UnixMs
}

export type NewApplication = Omit<Application, 'createdAt' | 'updatedAt'>

/** Undefined members stay unchanged. */
export interface ApplicationChanges {
  readonly name?: string | undefined
  readonly description?: string | null | undefined
  readonly scopes?: readonly string[] | undefined
  readonly redirectUris?: readonly RedirectUri[] | undefined
}

export interface ListOptions {
  readonly limit: number
  /** Of the page: newest first, or oldest first. */
  readonly order: 'desc' | 'asc'
  /** The page lies before or after this application, in the page's order. */
  readonly cursor: { readonly id: string; readonly side: 'before' | 'after' } | null
  readonly organizationId: string | null
  /** Part of a name, case-insensitive for ASCII, or a whole ID or client ID. */
  readonly search?: string
}

export interface Page {
  readonly applications: readonly Application[]
  /** Cursors for the pages on either side, in the page's order; null if there is nothing more. */
  readonly before: string | null
  readonly after: string | null
}

export interface ApplicationRow {
  readonly id: string
  readonly client_id: string
  readonly application_type: Application['applicationType']
  readonly name: string
  readonly description: string | null
  /** JSON. */
  readonly scopes: string
  readonly organization_id: string | null
  /** JSON. */
  readonly redirect_uris: string
  readonly uses_pkce: 0 | 1
  readonly is_first_party: 0 | 1
  readonly created_at: UnixMs
  readonly updated_at: UnixMs
}

const COLUMNS: readonly (keyof ApplicationRow)[] = [
  'id',
  'client_id',
  'application_type',
  'name',
  'description',
  'scopes',
  'organization_id',
  'redirect_uris',
  'uses_pkce',
  'is_first_party',
  'created_at',
  'updated_at',
]
export const applicationColumns = columnsOf('applications', COLUMNS)
export const applicationSnapshot = snapshotOf('applications', COLUMNS)

/** A row that LEFT JOIN found, or did not find. */
export type Joined<Row> = Row | { readonly id: null }

/** A search by name reads at most this many applications per page. */
const MAX_SEARCHED = 5_000

/** Condition: the application has this ID or client ID. It may be deleted. */
export function matchesApplication(id: string): Sql {
  return id.startsWith('client_') ? sql`applications.client_id = ${id}` : sql`applications.id = ${id}`
}

/** Joins the application with this ID or client ID to the caller, unless it is deleted. */
export function joinLiveApplication(id: string): Sql {
  return sql`JOIN applications ON applications.environment_id = caller.environment_id
    AND ${matchesApplication(id)} AND applications.deleted_at IS NULL`
}

/** Creates an application, if the environment has fewer than `limit`. */
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
  const type = 'connect_application.created'
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
  const inserted = sql`EXISTS (SELECT 1 FROM applications WHERE environment_id = environments.id
    AND ${matches} AND event_id = ${change.eventId})`
  return runBatch(
    database,
    change.caller,
    'write',
    {
      inserted: insert(database, change, 'applications', row, {
        source: sql`JOIN environments ON environments.id = caller.environment_id AND application_count < ${limit}`,
        where: keyUnused(change, request),
      }),
      counted: countApplications(change, 1, inserted),
      event: recordEvent(change, type, 'applications', matches, applicationSnapshot),
      ...(request && { remembered: rememberRequest(change, request) }),
      verdict: selectChangeVerdict<OriginalRow & { deleted_at: UnixMs | null; is_within_limit: 0 | 1 }>(
        change,
        type,
        sql`${originalColumns(request)}, applications.deleted_at, environments.application_count < ${limit} AS is_within_limit`,
        sql`JOIN environments ON environments.id = caller.environment_id ${joinOriginal(change, request)}
          LEFT JOIN applications ON applications.environment_id = caller.environment_id AND applications.id = original.data ->> 'id'`,
      ),
    },
    ({ verdict }) => {
      const original = readOriginal<ApplicationRow>(verdict, change, request)
      if (original === null) {
        return { refused: verdict.is_within_limit ? 'service_unavailable' : 'application_limit_reached' }
      }
      if ('refused' in original) return original
      if (verdict.deleted_at !== null) return { refused: 'application_deleted' }
      return { granted: { application: applicationFromRow(original.data), isReplay: original.replayedFrom !== null } }
    },
  )
}

export function findApplication(
  database: Database,
  caller: Caller,
  id: string,
): Promise<Outcome<Application, 'entity_not_found'>> {
  const verdict = selectVerdict<CallerRow & Joined<ApplicationRow>>(
    caller,
    applicationColumns,
    sql`LEFT ${joinLiveApplication(id)}`,
  )
  return runBatch(database, caller, 'read', { verdict }, ({ verdict }) =>
    verdict.id === null ? { refused: 'entity_not_found' } : { granted: applicationFromRow(verdict) },
  )
}

/** A page of the environment's applications, in the order of their creation, which is that of their IDs. */
export function listApplications(
  database: Database,
  caller: Caller,
  { limit, order, cursor, organizationId, search }: ListOptions,
): Promise<Outcome<Page, 'invalid_cursor'>> {
  const isReversed = cursor?.side === 'before'
  const isAscending = (order === 'asc') !== isReversed
  const inOrder = raw(`ORDER BY id ${isAscending ? 'ASC' : 'DESC'}`)
  const listed = [
    sql`deleted_at IS NULL`,
    ...(organizationId === null ? [] : [sql`organization_id = ${organizationId}`]),
  ]
  const whereListed = allOf([...listed, ...(cursor ? [sql`id ${raw(isAscending ? '>' : '<')} ${cursor.id}`] : [])])
  const wherePassed = (id: string) => allOf([...listed, sql`id ${raw(isAscending ? '<=' : '>=')} ${id}`])
  const upTo = sql`${inOrder} ${limitTo(limit + 1)}`
  const index =
    `applications INDEXED BY applications_by_${organizationId === null ? 'creation' : 'organization'}` as const
  const searchedTo = select<{ id: string }>(
    caller,
    sql`id`,
    index,
    whereListed,
    sql`${inOrder} LIMIT 1 OFFSET ${raw(`${MAX_SEARCHED - 1}`)}`,
  )
  return runBatch(
    database,
    caller,
    'read',
    {
      page:
        search === undefined
          ? select<ApplicationRow>(caller, applicationColumns, index, whereListed, upTo)
          : selectFromFirst<ApplicationRow>(
              caller,
              sql`*`,
              index,
              sql`${whereListed} ${inOrder} LIMIT ${raw(`${MAX_SEARCHED}`)}`,
              sql`WHERE instr(lower(name), lower(${search})) > 0 OR id = ${search} OR client_id = ${search} ${upTo}`,
            ),
      ...(search === undefined ? {} : { searchedTo }),
      ...(cursor
        ? {
            previous: select(caller, sql`1`, index, wherePassed(cursor.id), sql`LIMIT 1`),
            cursorRow: select(caller, sql`1`, 'applications', sql`id = ${cursor.id}`),
          }
        : {}),
    },
    ({ page, searchedTo, previous, cursorRow }) => {
      if (cursorRow?.length === 0) return { refused: 'invalid_cursor' }
      const rows = page.slice(0, limit)
      const next = (page.length > limit ? rows.at(-1)?.id : searchedTo?.[0]?.id) ?? null
      const back = previous?.length === 1 ? (rows[0]?.id ?? null) : null
      const applications = rows.map(applicationFromRow)
      return {
        granted: isReversed
          ? { applications: applications.reverse(), before: next, after: back }
          : { applications, before: back, after: next },
      }
    },
  )
}

export function updateApplication(
  database: Database,
  change: Change,
  id: string,
  { name, description, scopes, redirectUris }: ApplicationChanges,
): Promise<Outcome<Application, 'entity_not_found' | 'redirect_uris_not_allowed' | 'service_unavailable'>> {
  const set = [
    ...(name === undefined ? [] : [sql`name = ${name}`]),
    ...(description === undefined ? [] : [sql`description = ${description}`]),
    ...(scopes === undefined ? [] : [sql`scopes = ${JSON.stringify(scopes)}`]),
    ...(redirectUris === undefined ? [] : [sql`redirect_uris = ${JSON.stringify(redirectUris)}`]),
  ]
  const type = 'connect_application.updated'
  const needsOauth = Number(redirectUris !== undefined && redirectUris.length > 0)
  const allowed = sql`(${needsOauth} = 0 OR application_type = 'oauth')`
  const matches = matchesApplication(id)
  return runBatch(
    database,
    change.caller,
    'write',
    {
      updated: update(
        database,
        change,
        'applications',
        set,
        sql`${matches} AND applications.deleted_at IS NULL AND ${allowed}`,
      ),
      event: recordEvent(change, type, 'applications', matches, applicationSnapshot),
      verdict: selectChangeVerdict<ChangeRow & Joined<ApplicationRow & { is_allowed: 0 | 1 }>>(
        change,
        type,
        sql`${applicationColumns}, ${allowed} AS is_allowed`,
        sql`LEFT ${joinLiveApplication(id)}`,
      ),
    },
    ({ verdict }) => {
      if (verdict.id === null) return { refused: 'entity_not_found' }
      if (!verdict.is_allowed) return { refused: 'redirect_uris_not_allowed' }
      return verdict.is_done ? { granted: applicationFromRow(verdict) } : { refused: 'service_unavailable' }
    },
  )
}

/** Deletes an application and revokes its secrets: one change, one event that names them all. Idempotent. */
export function deleteApplication(
  database: Database,
  change: Change,
  id: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const type = 'connect_application.deleted'
  const matches = matchesApplication(id)
  const ofDeleted = sql`application_id = (SELECT id FROM applications
    WHERE environment_id = ${environmentOf(change.caller)} AND ${matches} AND event_id = ${change.eventId})`
  return runBatch(
    database,
    change.caller,
    'write',
    {
      deleted: update(
        database,
        change,
        'applications',
        [sql`deleted_at = ${change.now}`],
        sql`${matches} AND deleted_at IS NULL`,
      ),
      revoked: updateDependent(
        change,
        'client_secrets INDEXED BY client_secrets_by_application',
        [sql`revoked_at = ${change.now}`],
        sql`${ofDeleted} AND revoked_at IS NULL`,
      ),
      counted: countApplications(
        change,
        -1,
        sql`EXISTS (SELECT 1 FROM applications WHERE environment_id = environments.id
          AND ${matches} AND event_id = ${change.eventId})`,
      ),
      event: recordEvent(
        change,
        type,
        'applications',
        matches,
        sql`json_set(${applicationSnapshot}, '$.client_secrets', ${touchedSecrets(change, 'applications', 'id')})`,
      ),
      verdict: selectChangeVerdict<ChangeRow & Joined<{ id: string; deleted_at: UnixMs | null }>>(
        change,
        type,
        sql`applications.id, applications.deleted_at`,
        sql`LEFT JOIN applications ON applications.environment_id = caller.environment_id AND ${matches}`,
      ),
    },
    ({ verdict }) => {
      if (verdict.id === null) return { refused: 'entity_not_found' }
      return verdict.deleted_at === null ? { refused: 'service_unavailable' } : { granted: null }
    },
  )
}

export function applicationFromRow(row: ApplicationRow): Application {
  return {
    id: row.id,
    clientId: row.client_id,
    applicationType: row.application_type,
    name: row.name,
    description: row.description,
    scopes: JSON.parse(row.scopes),
    organizationId: row.organization_id,
    redirectUris: JSON.parse(row.redirect_uris),
    usesPkce: row.uses_pkce === 1,
    isFirstParty: row.is_first_party === 1,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}
