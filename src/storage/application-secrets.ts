import sql from 'sql-template-tag'
import { type Application, applicationColumns, applicationFromRow, isLiveApplication } from './applications.ts'
import {
  type ClientSecret,
  clientSecretColumns,
  clientSecretFromRow,
  isLive,
  isOfApplication,
} from './client-secrets.ts'
import type { Database, Row } from './database.ts'
import { ask, type Caller, type Outcome, select } from './statements.ts'

/** Secrets together with their applications, as a page shows them. */
export interface ListedClientSecret extends ClientSecret {
  /** Rotated out, and outside the limit. */
  readonly isRetiring: boolean
}

export interface ApplicationWithSecrets {
  readonly application: Application
  /** Those that live, oldest first. */
  readonly secrets: readonly ListedClientSecret[]
}

export interface FoundClientSecret extends ListedClientSecret {
  readonly applicationName: string
}

const columns = sql`${clientSecretColumns}, is_retiring`
const OLDEST_FIRST = sql`ORDER BY created_at, id`

/** An application, by its id or client id, with the secrets that live at `now` (unix ms). */
export function findApplicationWithSecrets(
  database: Database,
  caller: Caller,
  id: string,
  now: number,
): Promise<Outcome<ApplicationWithSecrets, 'entity_not_found'>> {
  return ask(
    database,
    caller,
    'read',
    [
      select(caller, applicationColumns, 'applications', isLiveApplication(id)),
      select(caller, columns, 'client_secrets', sql`${isOfApplication(id)} AND ${isLive(now)}`, OLDEST_FIRST),
    ],
    ([found = [], secrets = []]) =>
      found[0]
        ? { granted: { application: applicationFromRow(found[0]), secrets: secrets.map(listedFromRow) } }
        : { refused: 'entity_not_found' },
  )
}

/** The secrets of the environment that live at `now` (unix ms) and end in `hint`, with the names of their applications. */
export function findClientSecretsWithApplications(
  database: Database,
  caller: Caller,
  hint: string,
  now: number,
): Promise<Outcome<FoundClientSecret[]>> {
  const applicationName = sql`(SELECT name FROM applications WHERE applications.id = application_id) AS application_name`
  const isMatch = sql`secret_hint = ${hint} AND ${isLive(now)}`
  const found = select(caller, sql`${columns}, ${applicationName}`, 'client_secrets', isMatch, OLDEST_FIRST)
  return ask(database, caller, 'read', [found], ([secrets = []]) => ({
    granted: secrets.map((row) => ({ ...listedFromRow(row), applicationName: row.application_name as string })),
  }))
}

function listedFromRow(row: Row): ListedClientSecret {
  return { ...clientSecretFromRow(row), isRetiring: row.is_retiring === 1 }
}
