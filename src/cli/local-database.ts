import { access, chmod, constants, open, readdir, readFile, stat } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { DEFAULT_REGION } from '../credential/credential.ts'
import { type Database, StorageUnavailable } from '../storage/database.ts'
import { requireCurrentSchema } from '../storage/migrations.ts'
import { type Environment, listEnvironments } from '../storage/operator/environments.ts'
import { applyMigrations } from '../storage/operator/migrations.ts'
import type { Region } from '../storage/regions.ts'
import { Failure, type OpenRegions, type OperatorRegion } from './command.ts'
import { useFolder } from './folder-lock.ts'
import { findLocalRegions, openLocalDatabases } from './local-regions.ts'
import { makePrivateFolder } from './private-file.ts'
import { type IdentifiedRegion, requireKeptRegions, requireOwnEnvironments } from './regions.ts'
import { captureConsole, loadWrangler, oneLine, root } from './wrangler.ts'

export const STATE_FOLDER = '.wrangler/state'

const MIGRATIONS = join(root, 'src/storage/migrations')

/** The folder of the local database. */
export function stateFolder(path: string | undefined, env: NodeJS.Dict<string>): string {
  return path === undefined ? join(root, STATE_FOLDER) : givenPath(path, env)
}

/**
 * Resolves a path that the operator typed. A relative path starts in the folder where npm was called, not in the
 * project.
 */
export function givenPath(path: string, env: NodeJS.Dict<string>): string {
  return resolve(env.INIT_CWD ?? process.cwd(), path)
}

interface Options {
  readonly progress?: (line: string) => void
  /** The minimum number of regions. */
  readonly wanted?: number | undefined
  /** The path of wrangler.toml. */
  readonly path?: string
}

/** Opens the local databases of a state folder, and brings their tables up to date. */
export async function openLocalRegions(directory: string, options: Options = {}): Promise<OpenRegions> {
  await checkFolder(directory)
  const release = await useFolder(directory)
  try {
    const open = await patiently(() => openOnce(directory, options))
    return { ...open, close: () => open.close().finally(release) }
  } catch (error) {
    release()
    throw error instanceof Failure ? error : new Failure(explainLocal(directory, (error as Error).message))
  }
}

async function openOnce(directory: string, { progress = () => {}, wanted, path }: Options): Promise<OpenRegions> {
  const { regions, recorded, record } = await findLocalRegions(directory, wanted, path)
  const output = captureConsole()
  let close = async () => output.release()
  try {
    const local = await openLocalDatabases(wranglerFolder(directory), [...regions, ...recorded])
    close = () => local.dispose().finally(output.release)
    const databaseOf = (region: IdentifiedRegion) => operatorDatabase(local.databaseOf(region), region)
    await requireKeptRegions(recorded, regions, (region) => environmentsIn(databaseOf(region)))
    const open = async (region: IdentifiedRegion): Promise<OperatorRegion> => {
      const database = databaseOf(region)
      if (!(await isCurrent(directory, database))) {
        progress('Bringing the local database up to date…')
        await migrate(directory, database)
      }
      await requireOwnEnvironments(database, region)
      return { ...region, open: async () => database }
    }
    const opened = await Promise.all(regions.map(open))
    await record()
    return {
      regions: opened as [OperatorRegion, ...OperatorRegion[]],
      close,
      explain: (error) => explainLocal(directory, reasonIn(output.captured(), error)),
    }
  } catch (error) {
    await close()
    throw error instanceof Failure ? error : new Error(reasonIn(output.captured(), error))
  }
}

async function environmentsIn(database: Database): Promise<Environment[]> {
  return listEnvironments(database).catch((error) => {
    if (error instanceof StorageUnavailable && error.fault === 'not_migrated') return []
    throw error
  })
}

/** How long a command waits while another process uses the local database. */
const PATIENCE_MS = 10_000
const BUSY_DELAY_MS = 50

/** Matches the errors of a file while another process, such as `dev`, writes to it. */
const BUSY = /SQLITE_BUSY|Failed to get session commit token/

/** Repeats `attempt` while another process uses the local database. The attempt must be safe to repeat. */
export async function patiently<T>(attempt: () => Promise<T>): Promise<T> {
  for (const end = Date.now() + PATIENCE_MS; ; ) {
    try {
      return await attempt()
    } catch (error) {
      if (!BUSY.test(String(error)) || Date.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, BUSY_DELAY_MS * (0.5 + Math.random())))
    }
  }
}

/** The database of a region, opened outside any HTTP request. */
export function operatorDatabase(
  binding: D1Database,
  { digit }: Pick<Region, 'digit'> = { digit: DEFAULT_REGION },
): Database {
  return {
    region: digit,
    binding: withPatience(binding),
    get deadline() {
      return Date.now() + PATIENCE_MS
    },
    waitUntil: () => {},
  }
}

/** Repeats a batch while another process writes to the database. Every batch is safe to repeat. */
function withPatience(binding: D1Database): D1Database {
  return Object.assign(Object.create(binding), {
    prepare: (sql: string) => binding.prepare(sql),
    batch: (statements: D1PreparedStatement[]) => patiently(() => binding.batch(statements)),
  })
}

/** wrangler keeps its state in this subfolder of the folder that `--persist-to` names. */
const wranglerFolder = (directory: string) => join(directory, 'v3')

async function checkFolder(directory: string): Promise<void> {
  try {
    await makePrivateFolder(directory)
    await access(directory, constants.W_OK | constants.X_OK)
    // The database has webhook signing secrets, and wrangler creates files that every user of the machine can read.
    await makePrivateFolder(wranglerFolder(directory))
    if ((await stat(wranglerFolder(directory))).mode & 0o077) await chmod(wranglerFolder(directory), 0o700)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const problem =
      code === 'EEXIST' || code === 'ENOTDIR'
        ? 'is not a directory and cannot be created'
        : `cannot be written to (${code})`
    throw new Failure(`${shownPath(directory)} ${problem}. Nothing was changed. Name another folder with --persist-to.`)
  }
  for (const file of await databaseFiles(directory)) {
    if (await isForeign(file)) throw new Failure(explainLocal(directory, `${shownPath(file)} is not a database`))
  }
}

async function databaseFiles(directory: string): Promise<string[]> {
  const folder = join(wranglerFolder(directory), 'd1/miniflare-D1DatabaseObject')
  const names = await readdir(folder).catch(() => [])
  return names.filter((name) => name.endsWith('.sqlite')).map((name) => join(folder, name))
}

/**
 * True if a file is not a SQLite database. A SQLite database is empty, or begins with these 16 bytes. On other files,
 * the runtime fails with a stack trace.
 */
async function isForeign(file: string): Promise<boolean> {
  const handle = await open(file)
  try {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(16))
    return bytesRead > 0 && buffer.toString('latin1') !== 'SQLite format 3\0'
  } finally {
    await handle.close()
  }
}

async function migrate(directory: string, database: Database): Promise<void> {
  const { unstable_splitSqlQuery: split } = await loadWrangler()
  const names = (await readdir(MIGRATIONS)).filter((name) => name.endsWith('.sql')).sort()
  const read = async (name: string) => ({ name, statements: split(await readFile(join(MIGRATIONS, name), 'utf8')) })
  try {
    await applyMigrations(database, await Promise.all(names.map(read)))
  } catch (error) {
    const { message } = error as Error
    if (!message.includes('SQLITE_ERROR')) throw error
    throw new Failure(
      `The database in ${shownPath(directory)} is from a version that cannot be brought up to date (${oneLine(message)}). It was not changed. Name another folder with --persist-to.`,
    )
  }
}

async function isCurrent(directory: string, database: Database): Promise<boolean> {
  try {
    await requireCurrentSchema(database)
    return true
  } catch (error) {
    if (!(error instanceof StorageUnavailable)) throw error
    if (error.fault === 'not_migrated') return false
    if (error.fault !== 'newer_schema') throw error
    throw new Failure(
      `The database in ${shownPath(directory)} is from a newer version of Oncekey. Nothing was changed. Use that version, or name another folder with --persist-to.`,
    )
  }
}

/** The reason of a failure. If the error does not have it, the runtime printed it last. */
function reasonIn(output: string, error: unknown): string {
  const { message } = error as Error
  const printed = [...output.matchAll(/dbErrorMessage\([^)]*\) = ([^\n]*)/g)].at(-1)?.[1]
  return printed === undefined || message.includes('SQLITE_') ? message : printed
}

/** A message about a failed local database: what happened, whether anything changed, and what to do next. */
export function explainLocal(directory: string, reason: string): string {
  const place = shownPath(directory)
  const words = oneLine(reason).slice(0, 300).replace(/\.$/, '')
  const [, path] = /\b(?:EACCES|EROFS|EPERM|ENOENT)\b[^']*'([^']+)'/.exec(reason) ?? []
  if (path && relative(directory, path).startsWith('..')) {
    return `${path} cannot be written to (${words}). ${place} was not changed. Make ${path} writable, or set HOME or XDG_CONFIG_HOME to a writable folder.`
  }
  if (BUSY.test(reason)) {
    return `Another process kept writing to the local database in ${place}. The command may have taken effect: check, then run it again.`
  }
  if (/SQLITE_FULL|ENOSPC|disk is full/i.test(reason)) {
    return `The disk that has ${place} is full (${words}). The existing data is intact. Free some space, then run the command again.`
  }
  if (/SQLITE_READONLY|readonly database|EACCES|EROFS|EPERM/i.test(reason)) {
    return `${place} cannot be written to (${words}). Nothing was changed. Make its files writable, or name another folder with --persist-to.`
  }
  if (/SQLITE_NOTADB|not a database/i.test(reason)) {
    return `${words}, so ${place} cannot be used. Nothing was changed. Move the folder ${place} away to start empty, or name another folder with --persist-to.`
  }
  if (/SQLITE_CORRUPT|malformed/i.test(reason)) {
    return `The database in ${place} is damaged (${words}). Restore the folder from a copy, or name another folder with --persist-to.`
  }
  return `The local database in ${place} failed (${words}). The command may have taken effect: check before you run it again.`
}

/** Returns a path inside the project relative to the project, and any other path unchanged. */
export function shownPath(path: string): string {
  const short = relative(root, path)
  return short === '' || short.startsWith('..') ? path : short
}
