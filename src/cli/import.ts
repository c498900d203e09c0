import type { Command } from '@commander-js/extra-typings'
import { type Database, StorageUnavailable } from '../storage/database.ts'
import { SCHEMA_VERSION } from '../storage/migrations.ts'
import {
  type Column,
  freeSeqs,
  insertRows,
  MOVED_TABLES,
  type MovedTable,
  type Row,
  readColumns,
  recountApplications,
} from '../storage/operator/transfer.ts'
import { type Context, checkName, Failure, jsonOption, type OpenRegions, print, shellWord, table } from './command.ts'
import { type Header, type Line, readExport } from './export-file.ts'
import { givenPath, shownPath } from './local-database.ts'
import { databaseOptions, withRegions } from './operator-database.ts'
import { findEnvironments, requireAllAnswered, shownRegion } from './regions.ts'

/** Maximum number of rows per request, and of characters in their JSON. The limit of D1 for a parameter is 2 MB. */
const PAGE_ROWS = 500
const PAGE_LENGTH = 400_000
const PROGRESS_PAGES = 10

type Counts = Record<'added' | 'present' | 'conflicting', number>
type Report = Partial<Record<MovedTable, Counts>>

export function addImportCommand(program: Command, context: Context): void {
  databaseOptions(program.command('import'))
    .description(
      'Read an export with digests into another database whose region has the same digit. No secret has to be issued again. Existing rows stay as they are, so an interrupted import continues when you run it again.',
    )
    .argument('<FILE>', 'File that `export --digests` has written.')
    .option('--name <NAME>', 'Name of the environment in this database. By default its name in the file.')
    .addOption(jsonOption())
    .action(async (argument, options) => {
      const path = givenPath(argument, context.env)
      const file = shownPath(path)
      const name = options.name === undefined ? undefined : checkName('--name', options.name)
      const { header, lines, close } = await unchanged(() => readExport(path))
      try {
        const { changed, total } = await unchanged(() => check(header, lines()))
        const report = await withRegions(context, options, async (open) => {
          const { database, columns } = await unchanged(() => checkTarget(open, header, name, file))
          const again = `Run the same command again: it continues, and skips the existing rows.`
          try {
            const report = await importLines(context, database, { header, columns, changed, total, name }, lines())
            await recountApplications(database, header.environment.id)
            return report
          } catch (error) {
            if (error instanceof Failure)
              throw new Failure(`${error.message} A part of the file was imported. ${again}`)
            if (!(error instanceof StorageUnavailable)) throw error
            const words = /SQLITE_CONSTRAINT|SQLITE_MISMATCH|malformed JSON/.test(error.message)
              ? `The database refused a row of ${file} (${error.message}). A part of the file was imported. Make a new export, and import that.`
              : `The database did not respond (${error.message}). A part of the file may have been imported. ${again}`
            throw new Failure(words)
          }
        })
        await show(context, header, report, options.json)
      } finally {
        await close()
      }
    })
}

/** Adds "Nothing was changed." to the message of a Failure. */
async function unchanged<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (!(error instanceof Failure) || error.message.includes('Nothing was changed')) throw error
    throw new Failure(`${error.message} Nothing was changed.`)
  }
}

/** The rows that changed during the export, by table and ID, each with the position of its last version in the file. */
type Changed = ReadonlyMap<string, number>
const nameOf = (table: MovedTable, { id }: Row) => `${table} ${id}`

/** Checks the whole file before anything is changed. */
async function check(header: Header, lines: AsyncIterable<Line>): Promise<{ changed: Changed; total: number }> {
  if (!header.digests) {
    throw new Failure(
      'The export has no digests, so its secrets and API keys could not be used. Export the environment again with --digests.',
    )
  }
  const changed = new Map<string, number>()
  const expected = Object.fromEntries(MOVED_TABLES.map((table) => [table, header.columns[table].toSorted().join()]))
  let isChanged = false
  let total = 0
  for await (const line of lines) {
    if ('changed' in line) isChanged = true
    if (!('table' in line)) continue
    const { table, row } = line
    total++
    const owner = table === 'environments' ? row.id : row.environment_id
    if (Object.keys(row).toSorted().join() !== expected[table] || owner !== header.environment.id) {
      throw new Failure(`A row of ${table} (${row.id}) does not belong to this export.`)
    }
    if (isChanged) changed.set(nameOf(table, row), total)
  }
  return { changed, total }
}

/** Returns the database and the columns to insert. Throws Failure if the environment cannot be imported there. */
async function checkTarget(
  open: OpenRegions,
  { region, schema_version, environment, columns }: Header,
  name: string | undefined,
  file: string,
): Promise<{ database: Database; columns: Record<MovedTable, readonly Column[]> }> {
  const target = open.regions.find(({ digit }) => digit === region)
  if (!target) {
    const regions = open.regions.map(shownRegion).join(', ')
    throw new Failure(
      `${file} is from region ${region}, and the regions here are ${regions}. API keys and secrets contain the digit of their region, so they would not be found in another one. Add region ${region} to REGIONS in wrangler.toml.`,
    )
  }
  if (schema_version > SCHEMA_VERSION) {
    throw new Failure(`${file} is from a newer version of Oncekey. Use that version here, too.`)
  }
  const wanted = name ?? environment.name
  const found = await findEnvironments(open)
  requireAllAnswered(found)
  const other = found.answers.find((each) => each.name === wanted && each.id !== environment.id)
  if (other) {
    throw new Failure(
      `There is another environment named ${shellWord(wanted)} (${other.id}). Choose another name with --name.`,
    )
  }
  const database = await target.open()
  const present = await readColumns(database)
  const chosen = MOVED_TABLES.map((table) => {
    const found = present[table].filter((column) => columns[table].includes(column.name))
    if (found.length !== columns[table].length) {
      throw new Failure(
        `${file} has columns of ${table} that this database does not have. Use the version of Oncekey that wrote the file.`,
      )
    }
    return [table, found]
  })
  return { database, columns: Object.fromEntries(chosen) }
}

interface Plan {
  readonly header: Header
  readonly columns: Record<MovedTable, readonly Column[]>
  readonly changed: Changed
  readonly total: number
  readonly name: string | undefined
}

async function importLines(
  { progress }: Pick<Context, 'progress'>,
  database: Database,
  { header, columns, changed, total, name }: Plan,
  lines: AsyncIterable<Line>,
): Promise<Report> {
  const environmentId = header.environment.id
  const report: Report = {}
  let current: MovedTable = MOVED_TABLES[0]
  let page: Row[] = []
  let length = 0
  let read = 0
  let pages = 0
  let seq = 0

  async function flush(): Promise<void> {
    if (page.length === 0) return
    const rows = current === 'events' ? await freeSeqs(database, page, seq) : page
    if (current === 'events') seq = Number(rows.at(-1)?.seq ?? seq)
    const { added, present, conflicting } = await insertRows(database, current, columns[current], environmentId, rows)
    const counts = report[current] ?? { added: 0, present: 0, conflicting: 0 }
    report[current] = {
      added: counts.added + added,
      present: counts.present + present,
      conflicting: counts.conflicting + conflicting.length,
    }
    for (const id of conflicting) {
      progress(`Skipped ${current} ${id}: another row of this database has its ID, client ID or digest.`)
    }
    page = []
    length = 0
    if (++pages % PROGRESS_PAGES === 0) progress(`${read} of ${total} rows…`)
  }

  for await (const line of lines) {
    if (!('table' in line)) continue
    read++
    // Only the last version of a row is inserted. Otherwise a secret that was revoked during the export would be active
    // here for a while.
    if ((changed.get(nameOf(line.table, line.row)) ?? read) !== read) continue
    const row = line.table === 'environments' && name !== undefined ? { ...line.row, name } : line.row
    const size = JSON.stringify(row).length
    if (line.table !== current || page.length === PAGE_ROWS || length + size > PAGE_LENGTH) await flush()
    current = line.table
    page.push(row)
    length += size
  }
  await flush()
  return report
}

async function show(context: Context, { environment }: Header, report: Report, isJson = false): Promise<void> {
  if (isJson) return print(context, { environment: environment.id, rows: report })
  const rows = MOVED_TABLES.flatMap((table) => {
    const { added, present, conflicting } = report[table] ?? {}
    return added === undefined ? [] : [[table, String(added), String(present), String(conflicting)]]
  })
  await print(context, table(['TABLE', 'ADDED', 'ALREADY THERE', 'SKIPPED'], rows))
  await print(context, `Imported ${environment.name} (${environment.id}).`)
}
