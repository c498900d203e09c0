import sql from 'sql-template-tag'
import {
  type Application,
  type ApplicationRow,
  applicationColumns,
  applicationFromRow,
  matchesLiveApplication,
} from './applications.ts'
import { runBatch } from './batch.ts'
import type { Caller, Outcome } from './caller.ts'
import {
  type ClientSecret,
  type ClientSecretRow,
  clientSecretColumns,
  clientSecretFromRow,
  liveAt,
  ofApplication,
  oldestFirst,
} from './client-secrets.ts'
import type { Database, UnixMs } from './database.ts'
import { select } from './statements.ts'

/** Secrets together with their applications, as a page shows them. */
export interface ListedClientSecret extends ClientSecret {
  /** Rotated out, so it does not count against the limit. */
  readonly isRetiring: boolean
}

export interface ApplicationWithSecrets {
  readonly application: Application
  /** The live ones, oldest first. */
  readonly secrets: readonly ListedClientSecret[]
}

export interface FoundClientSecret extends ListedClientSecret {
  readonly applicationName: string
}

interface ListedRow extends ClientSecretRow {
  readonly is_retiring: 0 | 1
}

const columns = sql`${clientSecretColumns}, is_retiring`

/** An application, by its ID or client ID, with its live secrets. */
export function findApplicationWithSecrets(
  database: Database,
  caller: Caller,
  id: string,
  now: UnixMs,
): Promise<Outcome<ApplicationWithSecrets, 'entity_not_found'>> {
  const whereListed = sql`${ofApplication(id)} AND ${liveAt(now)}`
  return runBatch(
    database,
    caller,
    'read',
    {
      found: select<ApplicationRow>(caller, applicationColumns, 'applications', matchesLiveApplication(id)),
      secrets: select<ListedRow>(caller, columns, 'client_secrets', whereListed, oldestFirst),
    },
    ({ found: [row], secrets }) =>
      row
        ? { granted: { application: applicationFromRow(row), secrets: secrets.map(listedFromRow) } }
        : { refused: 'entity_not_found' },
  )
}

/** The live secrets of the environment that end in `hint`, with the names of their applications. */
export function findClientSecretsWithApplications(
  database: Database,
  caller: Caller,
  hint: string,
  now: UnixMs,
): Promise<Outcome<FoundClientSecret[]>> {
  const applicationName = sql`(SELECT name FROM applications WHERE applications.id = application_id) AS application_name`
  const secrets = select<ListedRow & { application_name: string }>(
    caller,
    sql`${columns}, ${applicationName}`,
    'client_secrets',
    sql`secret_hint = ${hint} AND ${liveAt(now)}`,
    oldestFirst,
  )
  return runBatch(database, caller, 'read', { secrets }, ({ secrets }) => ({
    granted: secrets.map((row) => ({ ...listedFromRow(row), applicationName: row.application_name })),
  }))
}

function listedFromRow(row: ListedRow): ListedClientSecret {
  return { ...clientSecretFromRow(row), isRetiring: row.is_retiring === 1 }
}
