import sql, { raw, type Sql } from 'sql-template-tag'
import type { Database, Row } from './database.ts'
import { snapshotOf, touchedSecrets } from './event-data.ts'
import { forgetStale, isNew, type KeyedRequest, readCreated, remember, selectCreated } from './idempotency.ts'
import {
  ask,
  type Caller,
  type Change,
  insert,
  isDone,
  type Outcome,
  recordEvent,
  select,
  update,
  updateAlong,
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
  /** Null on first-party oauth applications alone. */
  readonly organizationId: string | null
  /** Empty on m2m. */
  readonly redirectUris: readonly RedirectUri[]
  readonly usesPkce: boolean
  readonly isFirstParty: boolean
  /** Unix ms. */
  readonly createdAt: number
  /** Unix ms. */
  readonly updatedAt: number
}

export type NewApplication = Omit<Application, 'createdAt' | 'updatedAt'>

/** What an update may change; what is undefined stays. */
export interface ApplicationChanges {
  readonly name?: string | undefined
  readonly description?: string | null | undefined
  readonly scopes?: readonly string[] | undefined
  readonly redirectUris?: readonly RedirectUri[] | undefined
}

export interface ListOptions {
  readonly limit: number
  /** The order of the page: newest first, or oldest first. */
  readonly order: 'desc' | 'asc'
  /** An application's id, and on which side of it, in the page's order, the page lies. */
  readonly cursor: { readonly id: string; readonly side: 'behind' | 'ahead' } | null
  readonly organizationId: string | null
  /** What a name must have in it, capital or not (ASCII), or be found by in place of its name: an id, a client id. */
  readonly search?: string
}

export interface Page {
  readonly applications: readonly Application[]
  /** Whether there are more, in the page's order, on either side. */
  readonly hasMore: { readonly ahead: boolean; readonly behind: boolean }
}

const COLUMNS = [
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
] as const
export const applicationColumns = raw(COLUMNS.join(', '))
export const applicationSnapshot = snapshotOf('applications', COLUMNS)

/** Matches an application by its id or its client id, whether it lives or not. */
export function isApplication(id: string): Sql {
  return sql`applications.id = ${id} OR applications.client_id = ${id}`
}

/** Matches the living application. */
export function isLiveApplication(id: string): Sql {
  return sql`(${isApplication(id)}) AND applications.deleted_at IS NULL`
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
  const isMine = sql`applications.id = ${application.id}`
  return ask(
    database,
    change.caller,
    'write',
    [
      ...(request ? [forgetStale(change, request)] : []),
      insert(database, change, 'applications', row, { where: isNew(request) }),
      ...recordEvent(change, 'connect_application.created', 'applications', isMine, applicationSnapshot),
      ...(request ? [remember(change, request, 'applications', application.id)] : []),
      selectCreated(change, request),
    ],
    (rows) => {
      const row = rows.at(-1)?.[0]
      if (!row) return { refused: 'service_unavailable' }
      const created = readCreated(row, change, request)
      if (typeof created === 'string') return { refused: created }
      return { granted: { application: applicationFromRow(created.snapshot), isReplay: created.isReplay } }
    },
  )
}

export function findApplication(
  database: Database,
  caller: Caller,
  id: string,
): Promise<Outcome<Application, 'entity_not_found'>> {
  return ask(
    database,
    caller,
    'read',
    [select(caller, applicationColumns, 'applications', isLiveApplication(id))],
    ([rows]) => (rows?.[0] ? { granted: applicationFromRow(rows[0]) } : { refused: 'entity_not_found' }),
  )
}

/** A page of the environment's applications, by creation and then id. */
export function listApplications(
  database: Database,
  caller: Caller,
  { limit, order, cursor, organizationId, search }: ListOptions,
): Promise<Outcome<Page, 'invalid_cursor'>> {
  const isOfOrganization = organizationId === null ? sql`true` : sql`organization_id = ${organizationId}`
  const isFound =
    search === undefined ? sql`true` : sql`(instr(lower(name), lower(${search})) > 0 OR ${isApplication(search)})`
  const isListed = sql`deleted_at IS NULL AND ${isOfOrganization} AND ${isFound}`
  const isBackwards = cursor?.side === 'behind'
  const isAscending = (order === 'asc') !== isBackwards
  // A row that is gone still marks its place.
  const place = (id: string) => sql`(SELECT created_at, id FROM applications WHERE id = ${id})`
  const isBeyond = cursor ? sql`(created_at, id) ${raw(isAscending ? '>' : '<')} ${place(cursor.id)}` : sql`true`
  const isBefore = cursor ? sql`(created_at, id) ${raw(isAscending ? '<=' : '>=')} ${place(cursor.id)}` : sql`false`
  const direction = raw(isAscending ? 'ASC' : 'DESC')
  return ask(
    database,
    caller,
    'read',
    [
      select(
        caller,
        applicationColumns,
        'applications',
        sql`${isListed} AND ${isBeyond}`,
        sql`ORDER BY created_at ${direction}, id ${direction} LIMIT ${limit + 1}`,
      ),
      select(caller, sql`1`, 'applications', sql`${isListed} AND ${isBefore}`, sql`LIMIT 1`),
      select(caller, sql`1`, 'applications', sql`id = ${cursor?.id ?? null}`),
    ],
    ([page = [], before = [], mark = []]) => {
      if (cursor && mark.length === 0) return { refused: 'invalid_cursor' }
      const applications = page.slice(0, limit).map(applicationFromRow)
      const more = { onwards: page.length > limit, back: before.length > 0 }
      if (isBackwards) {
        return {
          granted: { applications: applications.reverse(), hasMore: { ahead: more.back, behind: more.onwards } },
        }
      }
      return { granted: { applications, hasMore: { ahead: more.onwards, behind: more.back } } }
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
  const redirects = Number(redirectUris !== undefined && redirectUris.length > 0)
  const isAllowed = sql`(${redirects} = 0 OR application_type = 'oauth')`
  return ask(
    database,
    change.caller,
    'write',
    [
      update(database, change, 'applications', set, sql`${isLiveApplication(id)} AND ${isAllowed}`),
      ...recordEvent(change, 'connect_application.updated', 'applications', isApplication(id), applicationSnapshot),
      select(
        change.caller,
        sql`${applicationColumns}, ${isDone(change)} AS is_done, ${isAllowed} AS is_allowed`,
        'applications',
        isLiveApplication(id),
      ),
    ],
    (rows) => {
      const row = rows.at(-1)?.[0]
      if (!row) return { refused: 'entity_not_found' }
      if (!row.is_allowed) return { refused: 'redirect_uris_not_allowed' }
      return row.is_done ? { granted: applicationFromRow(row) } : { refused: 'service_unavailable' }
    },
  )
}

/** Deletes an application and revokes its secrets: one change, one event that names them all. Doing it again is a success. */
export function deleteApplication(
  database: Database,
  change: Change,
  id: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const isJustDeleted = sql`application_id IN (SELECT id FROM applications WHERE event_id = ${change.eventId} AND (${isApplication(id)}))`
  return ask(
    database,
    change.caller,
    'write',
    [
      update(database, change, 'applications', [sql`deleted_at = ${change.now}`], isLiveApplication(id)),
      updateAlong(
        change,
        'client_secrets',
        [sql`revoked_at = ${change.now}`],
        sql`${isJustDeleted} AND revoked_at IS NULL`,
      ),
      ...recordEvent(
        change,
        'connect_application.deleted',
        'applications',
        isApplication(id),
        sql`json_set(${applicationSnapshot}, '$.client_secrets', ${touchedSecrets(change, sql`applications.id`)})`,
      ),
      select(change.caller, sql`deleted_at`, 'applications', isApplication(id)),
    ],
    (rows) => {
      const row = rows.at(-1)?.[0]
      if (!row) return { refused: 'entity_not_found' }
      return row.deleted_at === null ? { refused: 'service_unavailable' } : { granted: null }
    },
  )
}

export function applicationFromRow(row: Row): Application {
  return {
    id: row.id as string,
    clientId: row.client_id as string,
    applicationType: row.application_type as Application['applicationType'],
    name: row.name as string,
    description: row.description as string | null,
    scopes: JSON.parse(row.scopes as string),
    organizationId: row.organization_id as string | null,
    redirectUris: JSON.parse(row.redirect_uris as string),
    usesPkce: row.uses_pkce === 1,
    isFirstParty: row.is_first_party === 1,
    createdAt: row.created_at as number,
    updatedAt: row.updated_at as number,
  }
}
