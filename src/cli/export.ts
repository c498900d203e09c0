import { existsSync } from 'node:fs'
import type { Command } from '@commander-js/extra-typings'
import { type Database, StorageUnavailable } from '../storage/database.ts'
import { SCHEMA_VERSION } from '../storage/migrations.ts'
import {
  type Columns,
  countPendingDeliveries,
  exportedColumns,
  lastSeq,
  MOVED_TABLES,
  type MovedTable,
  type Row,
  readChangedIds,
  readColumns,
  readPage,
  readRows,
} from '../storage/operator/transfer.ts'
import { type Context, Failure, jsonOption, print } from './command.ts'
import { FORMAT_VERSION, type Header, type OpenExport, openExport } from './export-file.ts'
import { givenPath, shownPath } from './local-database.ts'
import { databaseOptions, withRegions } from './operator-database.ts'
import { environmentNamed } from './regions.ts'

/** Maximum number of rows per request. With the largest rows that the API accepts, a page has some 15 MB. */
const PAGE_ROWS = 200
const PROGRESS_PAGES = 25

export function addExportCommand(program: Command, context: Context): void {
  databaseOptions(program.command('export'))
    .description(
      'Write an environment to a private file: applications, secrets, API keys, webhook endpoints and events. An interrupted export continues when you run it again.',
    )
    .requiredOption('--environment <NAME>', 'Environment, by name or ID.')
    .option(
      '--digests',
      'Include the digests of secrets and API keys, and webhook signing secrets. `import` needs them.',
    )
    .option('--file <FILE>', 'File to write. Default: ID of the environment, with .jsonl.')
    .addOption(jsonOption())
    .action(async (options) => {
      const isWhole = options.digests ?? false
      const result = await withRegions(context, options, async (open) => {
        const { database, ...environment } = await environmentNamed(open, options.environment)
        const file = givenPath(options.file ?? `${environment.id}.jsonl`, context.env)
        if (existsSync(file)) {
          throw new Failure(`${shownPath(file)} exists already. Nothing was changed. Name another file with --file.`)
        }
        const columns = await readColumns(database)
        const header: Header = {
          oncekey_export: FORMAT_VERSION,
          schema_version: SCHEMA_VERSION,
          region: database.region,
          environment: { id: environment.id, name: environment.name },
          digests: isWhole,
          exported_at: new Date().toISOString(),
          since: await lastSeq(database),
          columns: columnNames(columns, isWhole),
        }
        const out = await openExport(file, header)
        try {
          await writeEnvironment(context, database, columns, out)
          const pending = await countPendingDeliveries(database, environment.id)
          await out.finish()
          return { file, rows: out.rows(), pending, environment }
        } catch (error) {
          if (!(error instanceof StorageUnavailable)) throw error
          throw new Failure(
            `The database did not respond (${error.message}). It was not changed. ${shownPath(file)}.part has ${out.rows()} rows: run the same command again, and it continues.`,
          )
        } finally {
          await out.close()
        }
      })
      const { file, rows, pending, environment } = result
      if (pending > 0) {
        context.progress(
          `Pending webhook deliveries, which are not exported: ${pending}${pending >= 1000 ? ' or more' : ''}.`,
        )
      }
      if (options.json) {
        return print(context, {
          file,
          environment: environment.id,
          digests: isWhole,
          rows,
          pending_deliveries: pending,
        })
      }
      const contents = isWhole
        ? 'It has digests and webhook signing secrets: protect it like the database.'
        : 'It has no digests, so it cannot be imported.'
      await print(
        context,
        `Exported ${environment.name} (${environment.id}): ${rows} rows in ${shownPath(file)}. ${contents}`,
      )
    })
}

function columnNames(columns: Columns, hasDigests: boolean): Header['columns'] {
  const names = (table: MovedTable) => exportedColumns(columns, table, hasDigests).map(({ name }) => name)
  return Object.fromEntries(MOVED_TABLES.map((table) => [table, names(table)])) as unknown as Header['columns']
}

/** Writes the rows that the file does not have yet. Then writes again the rows that changed since the export began. */
async function writeEnvironment(
  { progress }: Pick<Context, 'progress'>,
  database: Database,
  columns: Columns,
  out: OpenExport,
): Promise<void> {
  const { environment, digests, since } = out.header
  const { last } = out
  if (last) progress(`Continuing after ${out.rows()} rows…`)
  const write = (table: MovedTable, rows: readonly Row[]) => out.write(rows.map((row) => ({ table, row })))
  for (const table of MOVED_TABLES.slice(last ? MOVED_TABLES.indexOf(last.table) : 0)) {
    const selected = exportedColumns(columns, table, digests)
    let after = last?.table === table ? last.row : null
    let count = 0
    for (let page = 1, isMore = true; isMore; page++) {
      const rows = await readPage(database, table, selected, environment.id, after, PAGE_ROWS)
      await write(table, rows)
      after = rows.at(-1) ?? after
      count += rows.length
      isMore = rows.length === PAGE_ROWS
      if (isMore && page % PROGRESS_PAGES === 0) progress(`${table}: ${count} rows…`)
    }
    progress(`${table}: ${count} rows.`)
  }
  await out.write([{ changed: true }])
  for (let seq: number | null = since; seq !== null; ) {
    const changes: { ids: string[]; seq: number | null } = await readChangedIds(
      database,
      environment.id,
      seq,
      PAGE_ROWS,
    )
    for (const [table, prefix] of CHANGING) {
      const ids = changes.ids.filter((id) => id.startsWith(prefix))
      if (ids.length === 0) continue
      await write(table, await readRows(database, table, exportedColumns(columns, table, digests), environment.id, ids))
    }
    seq = changes.seq
  }
}

/** Tables whose rows change, and the prefix of their IDs. */
const CHANGING = [
  ['applications', 'conn_app_'],
  ['client_secrets', 'secret_'],
  ['webhook_endpoints', 'we_'],
  ['api_keys', 'api_key_'],
] as const
