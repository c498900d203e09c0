import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, link, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf, Failure } from './command.ts'
import { root } from './wrangler.ts'

/** Files that only the operator may read and write, in folders that others may be able to write to. */

/**
 * Writes a private file completely, or not at all. Replaces an existing file or link, because an attacker may have
 * created it.
 */
export async function writePrivately(file: string, text: string): Promise<void> {
  await explaining(file, () => throughNewFile(file, text, (written) => rename(written, file)))
}

/**
 * Writes a private file unless it exists, and returns true if it has written the file. Of several processes that call
 * this at once, at most one gets true.
 */
export async function createPrivately(file: string, text: string): Promise<boolean> {
  return explaining(file, async () => {
    let isCreated = true
    await throughNewFile(file, text, async (written) => {
      await link(written, file).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error
        isCreated = false
      })
    })
    return isCreated
  })
}

async function explaining<T>(file: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write()
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure(`${file} cannot be written (${codeOf(error)}). Nothing was changed.`)
  }
}

/**
 * Creates a folder and its missing parents. It does not use the option `recursive`, with which `mkdir` never returns if
 * a parent refuses new folders, as /proc does.
 */
export async function makePrivateFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, 0o700)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' && (await stat(folder)).isDirectory()) return
    if (code !== 'ENOENT') throw error
    await makePrivateFolder(dirname(folder))
    await mkdir(folder, 0o700)
  }
}

/**
 * Writes a new file, and calls `put` to move it to its final name. `wx` and a random name ensure that the file is new:
 * another user could have created an existing one, as a link or with access for others.
 */
async function throughNewFile(file: string, text: string, put: (written: string) => Promise<void>): Promise<void> {
  await makePrivateFolder(dirname(file))
  const written = `${file}.${randomUUID()}`
  const handle = await open(written, 'wx', 0o600)
  try {
    await handle.writeFile(`${text}\n`)
    await handle.sync()
    await handle.close()
    await put(written)
  } finally {
    await handle.close().catch(() => {})
    await rm(written, { force: true })
  }
}

/** Reads a private file, or returns null if it does not exist. Throws Failure if another user could have written it. */
export async function readPrivately(file: string): Promise<string | null> {
  const handle = await openPrivately(file)
  if (handle === null) return null
  try {
    return await handle.readFile('utf8')
  } catch (error) {
    throw new Failure(`${file} cannot be read (${codeOf(error)}). Nothing was changed.`)
  } finally {
    await handle.close()
  }
}

/**
 * Opens a private file for reading, or returns null if it does not exist. Throws Failure if another user could have
 * written it.
 */
export async function openPrivately(file: string): Promise<FileHandle | null> {
  return openTrusted(file, constants.O_RDONLY).catch((error) => {
    if (error instanceof Failure) throw error
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw new Failure(`${file} cannot be read (${code}). Nothing was changed.`)
  })
}

/** Opens a private file for reading and writing. Creates it if it does not exist. */
export async function continuePrivately(file: string): Promise<FileHandle> {
  return explaining(file, async () => {
    await makePrivateFolder(dirname(file))
    return openTrusted(file, constants.O_RDWR | constants.O_CREAT)
  })
}

async function openTrusted(file: string, flags: number): Promise<FileHandle> {
  const handle = await open(file, flags | (constants.O_NOFOLLOW ?? 0), 0o600).catch((error) => {
    throw codeOf(error) === 'ELOOP' ? new Failure(notYours(file)) : error
  })
  try {
    const { uid, mode } = await handle.stat()
    const trusted = [process.getuid?.() ?? uid, (await stat(root)).uid]
    if (!trusted.includes(uid) || mode & 0o022) throw new Failure(notYours(file))
    return handle
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** Renames a private file. Throws Failure if the new name already exists. */
export async function nameFinally(written: string, file: string): Promise<void> {
  await explaining(file, () => link(written, file))
  await rm(written)
}

function notYours(file: string): string {
  return `${file} is a link, or another user can write to it, so it is not trusted. Nothing was changed. Delete it if you did not create it.`
}
