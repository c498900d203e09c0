import { join } from 'node:path'

/** Locks across processes. SQLite's lock ends with its process, however that ends. */

const POLL_MS = 50
const SQLITE_BUSY = 5

/** Runs one task at a time for a file. */
export async function whileLocked<T>(file: string, task: () => Promise<T>): Promise<T> {
  const lock = await openLock(`${file}.lock`)
  try {
    await lock.wait('BEGIN EXCLUSIVE')
    return await task()
  } finally {
    lock.release()
  }
}

const lockOf = (directory: string) => join(directory, '.in-use.lock')

/** Marks the databases of a state folder as used, until the returned function is called. */
export async function useFolder(directory: string): Promise<() => void> {
  const lock = await openLock(lockOf(directory))
  lock.attempt('BEGIN')
  // A read begins a shared lock, which the transaction keeps.
  await lock.wait('SELECT 1 FROM sqlite_schema')
  return lock.release
}

const PATIENCE_MS = 5_000

/** Keeps every other command from the databases of a state folder. Null if one uses them for longer than five seconds. */
export async function claimFolder(directory: string): Promise<(() => void) | null> {
  const lock = await openLock(lockOf(directory), PATIENCE_MS)
  if (lock.attempt('BEGIN EXCLUSIVE')) return lock.release
  lock.release()
  return null
}

async function openLock(file: string, timeout = 0) {
  const { DatabaseSync } = await import('node:sqlite')
  const database = new DatabaseSync(file, { timeout })
  /** False if another connection has a lock that excludes this one. */
  const attempt = (sql: string): boolean => {
    try {
      database.exec(sql)
      return true
    } catch (error) {
      if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return false
      throw error
    }
  }
  return {
    attempt,
    wait: async (sql: string) => {
      while (!attempt(sql)) await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    },
    release: () => {
      if (database.isOpen) database.close()
    },
  }
}
