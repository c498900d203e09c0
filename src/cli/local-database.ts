import { access, constants, mkdir, open, readdir, stat } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { type Database, StorageUnavailable } from '../storage/database.ts'
import { requireCurrentSchema } from '../storage/migrations.ts'
import { Failure, progress } from './command.ts'
import { type OpenDatabase, operatorDatabase } from './operator-database.ts'
import { configPath, hush, loadWrangler, reasonOf, root, runWrangler } from './wrangler.ts'

/** Opens the embedded database of a state folder, with the tables of this version in it. */
export async function openLocalDatabase(directory: string): Promise<OpenDatabase> {
  await checkFolder(directory)
  const { getPlatformProxy } = await loadWrangler()
  const runtime = hush()
  try {
    const proxy = await getPlatformProxy<Env>({
      configPath,
      // wrangler keeps its state in v3 of the folder that --persist-to names.
      persist: { path: join(directory, 'v3') },
      remoteBindings: false,
    })
    const close = () => proxy.dispose().finally(runtime.speakAgain)
    try {
      const database = operatorDatabase(proxy.env.DB)
      if (await needsMigration(database)) await migrate(directory)
      return { database, close }
    } catch (error) {
      await close()
      throw error
    }
  } catch (error) {
    runtime.speakAgain()
    if (error instanceof Failure) throw error
    const [, reason] = /dbErrorMessage\([^)]*\) = ([^\n]*)/.exec(runtime.said()) ?? []
    throw new Failure(unusable(directory, reason ?? (error as Error).message))
  }
}

async function needsMigration(database: Database): Promise<boolean> {
  try {
    await requireCurrentSchema(database)
    return false
  } catch (error) {
    if (error instanceof StorageUnavailable && error.fault === 'not_migrated') return true
    throw error
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
