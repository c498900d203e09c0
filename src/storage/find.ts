import sql, { empty, join, type Sql } from 'sql-template-tag'
import { type Application, applicationMapping, MAX_SEARCHED, matchesApplication } from './applications.ts'
import { runBatch } from './batch.ts'
import type { Caller, Outcome } from './caller.ts'
import { endsIn } from './client-secrets.ts'
import type { Database, UnixMs } from './database.ts'
import { MAX_READ } from './inventory.ts'
import { type ListedRow, type ListedSecret, listedColumns, listedFromRow } from './listed-secrets.ts'
import { limitTo, selectFromFirst } from './statements.ts'

/**
 * A search by the trailing characters of a secret (`hint`), by other text, or by both. A member is null if it is not
 * searched for.
 */
export interface Search {
  readonly hint: string | null
  readonly text: string | null
}

export interface FoundSecret extends ListedSecret {
  /**
   * The person or the API key that made the last change, as text. For a revoked secret, the last change is the
   * revocation. Null if the operator or the system made the change.
   */
  readonly changedBy: string | null
}

export interface Found {
  readonly secrets: readonly FoundSecret[]
  readonly applications: readonly Application[]
}

/** Maximum number of secrets, and of applications, in the result. */
export const MAX_FOUND = 20

type FoundRow = ListedRow & { readonly changed_by: string | null }

/**
 * Finds secrets in any state by their trailing characters. Finds secrets and applications by a part of their name or
 * ID, and applications by organization. Complete IDs are found by an index. Parts are searched for only among the
 * newest objects.
 */
export function findAnything(
  database: Database,
  caller: Caller,
  { hint, text }: Search,
  now: UnixMs,
): Promise<Outcome<Found>> {
  const changedBy = sql`(SELECT coalesce(actor_person, 'API key ' || caller_name) FROM events WHERE id = first.event_id) AS changed_by`
  const secrets = (source: 'client_secrets' | `client_secrets INDEXED BY ${string}`, first: Sql, rest: Sql) =>
    selectFromFirst<FoundRow>(caller, sql`${listedColumns(now)}, ${changedBy}`, source, first, rest)
  const applications = (source: 'applications' | `applications INDEXED BY ${string}`, first: Sql, rest: Sql) =>
    selectFromFirst<object & { id: string }>(caller, sql`*`, source, first, rest)
  const upTo = sql`ORDER BY id DESC ${limitTo(MAX_FOUND)}`
  const contains = (column: Sql) =>
    join(
      casesOf(text ?? '').map((one) => sql`instr(${column}, ${one}) > 0`),
      ' OR ',
    )
  const statements = {
    ...(hint === null
      ? {}
      : { ended: secrets('client_secrets INDEXED BY client_secrets_by_hint', endsIn(hint), upTo) }),
    ...(text === null
      ? {}
      : {
          exactSecret: secrets('client_secrets', sql`id = ${text}`, empty),
          named: secrets(
            'client_secrets',
            sql`true ORDER BY id DESC ${limitTo(MAX_READ)}`,
            sql`WHERE instr(lower(name), lower(${text})) > 0 OR ${contains(sql`name`)} OR instr(id, ${text}) > 0 ${upTo}`,
          ),
          exact: applications('applications', sql`${matchesApplication(text)} AND deleted_at IS NULL`, empty),
          organized: applications(
            'applications INDEXED BY applications_by_organization',
            sql`organization_id = ${text} AND deleted_at IS NULL ORDER BY id DESC ${limitTo(MAX_FOUND)}`,
            empty,
          ),
          titled: applications(
            'applications INDEXED BY applications_by_creation',
            sql`deleted_at IS NULL ORDER BY id DESC ${limitTo(MAX_SEARCHED)}`,
            sql`WHERE instr(lower(name), lower(${text})) > 0 OR ${contains(sql`name`)} OR instr(id, ${text}) > 0 OR instr(client_id, ${text}) > 0
              OR instr(organization_id, ${text}) > 0 ${upTo}`,
          ),
        }),
  }
  return runBatch(database, caller, 'secrets:read', statements, (rows) => ({
    granted: {
      secrets: distinct([rows.ended, rows.exactSecret, rows.named]).map((row) => ({
        ...listedFromRow(row),
        changedBy: row.changed_by,
      })),
      applications: distinct([rows.exact, rows.organized, rows.titled]).map(applicationMapping.fromRow),
    },
  }))
}

/**
 * Returns a text as it is, in lower case, in upper case and in title case. SQLite's lower() folds only ASCII letters.
 */
function casesOf(text: string): string[] {
  const lower = text.toLowerCase()
  return [text, lower, text.toUpperCase(), lower.replace(/(^|\s)\p{L}/gu, (start) => start.toUpperCase())]
}

/** Merges the rows of several statements, without duplicates. */
function distinct<Row extends { readonly id: string }>(results: (readonly Row[] | undefined)[]): Row[] {
  return [...new Map(results.flatMap((rows) => rows ?? []).map((row) => [row.id, row])).values()]
}
