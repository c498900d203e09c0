import { access, constants, mkdir, open, readdir, stat } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { type Database, StorageUnavailable } from '../storage/database.ts'
import { requireCurrentSchema } from '../storage/migrations.ts'
import { Failure, progress } from './command.ts'
import { configPath, loadWrangler, reasonOf, root, runWrangler } from './wrangler.ts'

export interface OpenDatabase {
  readonly database: Database
  readonly close: () => Promise<void>
}

export const persistTo = {
  type: 'string',
  value: 'DIR',
  says: 'Where the embedded database is kept.',
  default: '.wrangler/state',
} as const

/** Opens the embedded database of a state folder, with the tables of this version in it. */
export async function openLocalDatabase(directory: string): Promise<OpenDatabase> {
  await checkFolder(directory)
  const { getPlatformProxy } = await loadWrangler()
  // wrangler keeps its state in v3 of the folder that --persist-to names.
  const proxy = await getPlatformProxy<Env>({
    configPath,
    persist: { path: join(directory, 'v3') },
    remoteBindings: false,
  }).catch((error: Error) => {
    throw new Failure(unusable(directory, error.message))
  })
  try {
    const database = operatorDatabase(proxy.env.DB)
    if (await needsMigration(database, directory)) await migrate(directory)
    return { database, close: proxy.dispose }
  } catch (error) {
    await proxy.dispose()
    throw error
  }
}

/** Runs something over the embedded database, and closes it. */
export async function withLocalDatabase<T>(directory: string, use: (database: Database) => Promise<T>): Promise<T> {
  const { database, close } = await openLocalDatabase(directory)
  try {
    return await use(database)
  } finally {
    await close()
  }
}

/** How long one statement of an operator's may take, and be tried again while another process writes. */
const PATIENCE_MS = 10_000
const BUSY_DELAY_MS = 50

/** A database as the operator's functions want it: no request stands behind it. */
export function operatorDatabase(binding: D1Database): Database {
  return {
    binding: patient(binding),
    get deadline() {
      return Date.now() + PATIENCE_MS
    },
    waitUntil: () => {},
  }
}

/** Waits while another process, such as a running `dev`, holds the file. What was refused so has changed nothing. */
function patient(binding: D1Database): D1Database {
  const batch = async <T>(
    statements: D1PreparedStatement[],
    end = Date.now() + PATIENCE_MS,
  ): Promise<D1Result<T>[]> => {
    try {
      return await binding.batch<T>(statements)
    } catch (error) {
      if (!String(error).includes('SQLITE_BUSY') || Date.now() > end - BUSY_DELAY_MS * 2) throw error
      await new Promise((resolve) => setTimeout(resolve, BUSY_DELAY_MS * (0.5 + Math.random())))
      return batch(statements, end)
    }
  }
  return Object.assign(Object.create(binding), {
    prepare: (sql: string) => binding.prepare(sql),
    batch: (statements: D1PreparedStatement[]) => batch(statements),
  })
}

async function needsMigration(database: Database, directory: string): Promise<boolean> {
  try {
    await requireCurrentSchema(database)
    return false
  } catch (error) {
    if (!(error instanceof StorageUnavailable)) throw error
    if (error.notMigrated) return true
    throw new Failure(unusable(directory, error.message))
  }
}

async function migrate(directory: string): Promise<void> {
  progress('Bringing the embedded database up to date…')
  const finished = await runWrangler(['d1', 'migrations', 'apply', 'DB', '--local', '--persist-to', directory])
  if (finished.code !== 0) throw new Failure(unusable(directory, reasonOf(finished)))
}

async function checkFolder(directory: string): Promise<void> {
  try {
    await makeFolder(directory)
    await access(directory, constants.W_OK | constants.X_OK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' || code === 'ENOTDIR') {
      throw new Failure(`${shown(directory)} is no folder, nor can it become one. Name another with --persist-to.`)
    }
    throw new Failure(`${shown(directory)} cannot be written to (${code}). Name another folder with --persist-to.`)
  }
  for (const file of await databaseFiles(directory)) {
    if (await isForeign(file)) throw new Failure(unusable(directory, `${shown(file)} is not a database`))
  }
}

/** Not `recursive`, which never ends where a folder is there and takes none, such as /proc. */
async function makeFolder(directory: string): Promise<void> {
  try {
    await mkdir(directory)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' && (await stat(directory)).isDirectory()) return
    if (code !== 'ENOENT') throw error
    await makeFolder(dirname(directory))
    await mkdir(directory)
  }
}

async function databaseFiles(directory: string): Promise<string[]> {
  const folder = join(directory, 'v3/d1/miniflare-D1DatabaseObject')
  const names = await readdir(folder).catch(() => [])
  return names.filter((name) => name.endsWith('.sqlite')).map((name) => join(folder, name))
}

/** SQLite's files begin with these 16 bytes; a new one is empty. The runtime says so with a stack trace. */
async function isForeign(file: string): Promise<boolean> {
  const handle = await open(file)
  try {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(16))
    return bytesRead > 0 && buffer.toString('latin1') !== 'SQLite format 3\0'
  } finally {
    await handle.close()
  }
}

function unusable(directory: string, reason: string): string {
  const words = reason.replace(/\s+/g, ' ').slice(0, 300).replace(/\.$/, '')
  return `The state in ${shown(directory)} cannot be used: ${words}. Move it away to begin anew, or name another folder with --persist-to.`
}

/** As short as it can be said from where the command runs. */
export function shown(path: string): string {
  const short = relative(root, path)
  return short === '' || short.startsWith('..') ? path : short
}
