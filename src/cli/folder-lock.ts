import { join } from 'node:path'

/**
 * Locks between processes. They are SQLite locks, because such a lock is released when its process ends, even by a
 * crash.
 */

const POLL_MS = 50
const SQLITE_BUSY = 5

/** Runs a task while no other process runs one for the same file. */
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

/**
 * Marks a state folder as in use until the returned function is called. Several processes can use a folder at the same
 * time.
 */
export async function useFolder(directory: string): Promise<() => void> {
  const lock = await openLock(lockOf(directory))
  lock.attempt('BEGIN')
  // A read acquires a shared lock, and the open transaction keeps it.
  await lock.wait('SELECT 1 FROM sqlite_schema')
  return lock.release
}

/**
 * Locks a state folder against all other commands, and returns a function that releases it. Returns null if another
 * command still uses the folder after `patienceMs`.
 */
export async function claimFolder(directory: string, patienceMs: number): Promise<(() => void) | null> {
  const lock = await openLock(lockOf(directory), patienceMs)
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
