import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { link, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Failure } from './command.ts'
import { root } from './wrangler.ts'

/** Files that only the operator may read and write, in folders that others may be able to write to. */

/** Writes a private file, all of it or nothing. What stands there, a planted link included, is replaced. */
export async function writePrivately(file: string, text: string): Promise<void> {
  await throughNewFile(file, text, (written) => rename(written, file))
}

/** Writes a private file unless there is one. Of several processes that do so at once, one gets true. */
export async function createPrivately(file: string, text: string): Promise<boolean> {
  try {
    await throughNewFile(file, text, (written) => link(written, file))
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Makes a folder and those above it. Not `recursive`: in a folder that takes none, such as /proc, that never ends. */
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

/** `wx` and a random name: no other user can have planted a file or a link there, whose mode or target would stay. */
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

/** Reads a private file; null when there is none. Refuses one that another user can have written. */
export async function readPrivately(file: string): Promise<string | null> {
  try {
    const handle = await open(file, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
    try {
      const { uid, mode } = await handle.stat()
      const trusted = [process.getuid?.() ?? uid, (await stat(root)).uid]
      if (!trusted.includes(uid) || mode & 0o022) throw new Failure(notYours(file))
      return await handle.readFile('utf8')
    } finally {
      await handle.close()
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return null
    if (code === 'ELOOP') throw new Failure(notYours(file))
    throw error
  }
}

function notYours(file: string): string {
  return `${file} is a link, or another user can write to it, so it is not trusted. Nothing was changed. Delete it if you did not make it.`
}
