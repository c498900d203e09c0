import sql, { raw, type Sql } from 'sql-template-tag'
import { runBatch } from './batch.ts'
import type { Caller, Change, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import {
  type CreatedRow,
  forgetStale,
  type KeyedRequest,
  keyUnused,
  readCreated,
  rememberRequest,
  selectCreated,
} from './idempotency.ts'
import {
  allOf,
  eventExists,
  insert,
  recordEvent,
  select,
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
  /** Whether there are more on either side, in the page's order. */
  readonly hasMore: { readonly before: boolean; readonly after: boolean }
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
export const applicationColumns = raw(COLUMNS.join(', '))
export const applicationSnapshot = snapshotOf('applications', COLUMNS)

/** Condition: the application has this ID or client ID. It may be deleted. */
export function matchesApplication(id: string): Sql {
  return sql`applications.id = ${id} OR applications.client_id = ${id}`
}

/** Condition: the application has this ID or client ID and is not deleted. */
export function matchesLiveApplication(id: string): Sql {
  return sql`(${matchesApplication(id)}) AND applications.deleted_at IS NULL`
}

export function createApplication(
  database: Database,
  change: Change,
  application: NewApplication,
  request: KeyedRequest | null,
): Promise<Outcome<{ application: Application; isReplay: boolean }, 'idempotency_key_reused' | 'service_unavailable'>> {
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
  return runBatch(
    database,
    change.caller,
    'write',
    {
      ...(request && { forgotten: forgetStale(change, request) }),
      inserted: insert(database, change, 'applications', row, { where: keyUnused(request) }),
      ...recordEvent(change, 'connect_application.created', 'applications', matches, applicationSnapshot),
      ...(request && { remembered: rememberRequest(change, request, 'applications', application.id) }),
      created: selectCreated<CreatedRow>(change, request),
    },
    ({ created: [row] }) => {
      if (!row) return { refused: 'service_unavailable' }
      const created = readCreated(row, change, request)
      if (typeof created === 'string') return { refused: created }
      return { granted: { application: applicationFromRow(JSON.parse(created.data)), isReplay: created.isReplay } }
    },
  )
}

export function findApplication(
  database: Database,
  caller: Caller,
  id: string,
): Promise<Outcome<Application, 'entity_not_found'>> {
  const found = select<ApplicationRow>(caller, applicationColumns, 'applications', matchesLiveApplication(id))
  return runBatch(database, caller, 'read', { found }, ({ found: [row] }) =>
    row ? { granted: applicationFromRow(row) } : { refused: 'entity_not_found' },
  )
}

/** A page of the environment's applications, by creation and then id. */
export function listApplications(
  database: Database,
  caller: Caller,
  { limit, order, cursor, organizationId, search }: ListOptions,
): Promise<Outcome<Page, 'invalid_cursor'>> {
  const whereListed = allOf([
    sql`deleted_at IS NULL`,
    ...(organizationId === null ? [] : [sql`organization_id = ${organizationId}`]),
    ...(search === undefined ? [] : [sql`(instr(lower(name), lower(${search})) > 0 OR ${matchesApplication(search)})`]),
  ])
  const isReversed = cursor?.side === 'before'
  const isAscending = (order === 'asc') !== isReversed
  // A deleted application still marks its place.
  const cursorPlace = sql`(SELECT created_at, id FROM applications WHERE id = ${cursor?.id ?? null})`
  const onPage = cursor ? sql`(created_at, id) ${raw(isAscending ? '>' : '<')} ${cursorPlace}` : sql`true`
  const passed = cursor ? sql`(created_at, id) ${raw(isAscending ? '<=' : '>=')} ${cursorPlace}` : sql`false`
  const direction = raw(isAscending ? 'ASC' : 'DESC')
  const inOrder = sql`ORDER BY created_at ${direction}, id ${direction} LIMIT ${limit + 1}`
  return runBatch(
    database,
    caller,
    'read',
    {
      page: select<ApplicationRow>(
        caller,
        applicationColumns,
        'applications',
        sql`${whereListed} AND ${onPage}`,
        inOrder,
      ),
      previous: select(caller, sql`1`, 'applications', sql`${whereListed} AND ${passed}`, sql`LIMIT 1`),
      cursorRow: select(caller, sql`1`, 'applications', sql`id = ${cursor?.id ?? null}`),
    },
    ({ page, previous, cursorRow }) => {
      if (cursor && cursorRow.length === 0) return { refused: 'invalid_cursor' }
      const applications = page.slice(0, limit).map(applicationFromRow)
      const hasNext = page.length > limit
      const hasPrevious = previous.length > 0
      return {
        granted: isReversed
          ? { applications: applications.reverse(), hasMore: { before: hasNext, after: hasPrevious } }
          : { applications, hasMore: { before: hasPrevious, after: hasNext } },
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
  const needsOauth = Number(redirectUris !== undefined && redirectUris.length > 0)
  const allowed = sql`(${needsOauth} = 0 OR application_type = 'oauth')`
  const state = sql`${applicationColumns}, ${eventExists(change)} AS is_done, ${allowed} AS is_allowed`
  return runBatch(
    database,
    change.caller,
    'write',
    {
      updated: update(database, change, 'applications', set, sql`${matchesLiveApplication(id)} AND ${allowed}`),
      ...recordEvent(
        change,
        'connect_application.updated',
        'applications',
        matchesApplication(id),
        applicationSnapshot,
      ),
      found: select<ApplicationRow & { is_done: 0 | 1; is_allowed: 0 | 1 }>(
        change.caller,
        state,
        'applications',
        matchesLiveApplication(id),
      ),
    },
    ({ found: [row] }) => {
      if (!row) return { refused: 'entity_not_found' }
      if (!row.is_allowed) return { refused: 'redirect_uris_not_allowed' }
      return row.is_done ? { granted: applicationFromRow(row) } : { refused: 'service_unavailable' }
    },
  )
}

/** Deletes an application and revokes its secrets: one change, one event that names them all. Idempotent. */
export function deleteApplication(
  database: Database,
  change: Change,
  id: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const ofDeleted = sql`application_id IN (SELECT id FROM applications WHERE event_id = ${change.eventId} AND (${matchesApplication(id)}))`
  return runBatch(
    database,
    change.caller,
    'write',
    {
      deleted: update(database, change, 'applications', [sql`deleted_at = ${change.now}`], matchesLiveApplication(id)),
      revoked: updateDependent(
        change,
        'client_secrets',
        [sql`revoked_at = ${change.now}`],
        sql`${ofDeleted} AND revoked_at IS NULL`,
      ),
      ...recordEvent(
        change,
        'connect_application.deleted',
        'applications',
        matchesApplication(id),
        sql`json_set(${applicationSnapshot}, '$.client_secrets', ${touchedSecrets(change, sql`applications.id`)})`,
      ),
      found: select<{ deleted_at: UnixMs | null }>(
        change.caller,
        sql`deleted_at`,
        'applications',
        matchesApplication(id),
      ),
    },
    ({ found: [row] }) => {
      if (!row) return { refused: 'entity_not_found' }
      return row.deleted_at === null ? { refused: 'service_unavailable' } : { granted: null }
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
