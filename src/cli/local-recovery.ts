import { copyFile, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { type Context, Failure, shellWord } from './command.ts'
import { findRunningDev } from './dev.ts'
import { claimFolder } from './folder-lock.ts'
import { givenPath, shownPath, stateFolder } from './local-database.ts'
import { withRegions } from './operator-database.ts'
import { makePrivateFolder } from './private-file.ts'
import type { RecoveryTarget } from './recovery-steps.ts'
import { regionNamed } from './regions.ts'

const DATABASES = 'v3/d1/miniflare-D1DatabaseObject'

/**
 * Restores the local database from a copy of its file. Revocations are applied to the copy. Then one rename replaces
 * the database, so that no program sees a state in between.
 */
export function localTarget(
  context: Context,
  { persistTo, from = '', region }: LocalOptions,
): { target: RecoveryTarget; folder: string } {
  const folder = stateFolder(persistTo, context.env)
  const copy = givenPath(from, context.env)
  const aside = join(folder, 'recovery')
  const backup = (startedAt: number) =>
    join(folder, `before-recovery-${new Date(startedAt).toISOString().replace(/[:.]/g, '-')}.sqlite`)
  const within =
    (directory: string): RecoveryTarget['withLive'] =>
    (use) =>
      withRegions(context, { persistTo: directory }, async (open) => use(await regionNamed(open, region).open()))
  const target: RecoveryTarget = {
    name: shownPath(folder),
    findPoint: async () => {
      await whileUnused(context, folder, 'Nothing was changed.', async () => {})
      await newestEvent(copy)
      return copy
    },
    findUndo: async (startedAt) => backup(startedAt),
    timeOf: async (point, to) => Math.min(to.getTime(), await newestEvent(point)),
    withLive: within(folder),
    close: async () => {
      const file = await requireFrozen(folder)
      await whileUnused(context, folder, NOT_RESTORED, () => settle(context, file))
      return 'No local Worker is running: no other process has the database open.'
    },
    restore: async (point) => {
      const restored = join(aside, DATABASES, basename(await requireFrozen(folder)))
      await rm(aside, { recursive: true, force: true })
      await makePrivateFolder(dirname(restored))
      await copyFile(join(folder, '.regions.json'), join(aside, '.regions.json')).catch(ignoreMissing)
      await copyDatabase(point, restored)
      return `Copied ${shownPath(point)} beside the database, which stays as it is until the end.`
    },
    withRestored: within(aside),
    open: async (undo) => {
      // If an earlier run was interrupted after `rename`, the restored database is already in place, and no database is
      // frozen.
      const live = await frozenFile(folder)
      if (live !== null) {
        await whileUnused(context, folder, NOT_RESTORED, async () => {
          const restored = join(aside, DATABASES, basename(live))
          await settle(context, restored)
          await settle(context, live)
          await copyFile(live, undo)
          await rename(restored, live)
        })
      }
      await rm(aside, { recursive: true, force: true })
      return `The restored database is in place. The previous database is ${shownPath(undo)}.`
    },
    undoCommand: (undo) =>
      `npm run recover -- --to ${new Date().toISOString()} --from ${shellWord(shownPath(undo))} --persist-to ${shellWord(shownPath(folder))}`,
    cancel: () => rm(aside, { recursive: true, force: true }),
  }
  return { target, folder }
}

interface LocalOptions {
  readonly persistTo?: string | undefined
  readonly from?: string | undefined
  readonly region?: string | undefined
}

/** The time of the newest event in a copy of the database, in Unix ms. The copy may lack changes after that time. */
async function newestEvent(copy: string): Promise<number> {
  // Opening the operator's copy itself would create files beside it, or ignore its write-ahead log.
  const folder = await mkdtemp(join(tmpdir(), 'oncekey-'))
  try {
    const file = join(folder, 'copy.sqlite')
    await copyDatabase(copy, file)
    const { DatabaseSync } = await import('node:sqlite')
    const database = new DatabaseSync(file)
    try {
      return Number(database.prepare('SELECT coalesce(max(created_at), 0) AS time FROM events').get()?.time)
    } finally {
      database.close()
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new Failure(
      `${shownPath(copy)} is not a copy of a local database (${code === 'ENOENT' ? code : message}). Nothing was changed. Name a file like .wrangler/state/${DATABASES}/….sqlite.`,
    )
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Copies a database with its write-ahead log, if it has one. */
async function copyDatabase(from: string, to: string): Promise<void> {
  await copyFile(from, to)
  await copyFile(`${from}-wal`, `${to}-wal`).catch(ignoreMissing)
}

/** Finds the file of the database that refuses changes. The folder has one file for each region. */
async function frozenFile(folder: string): Promise<string | null> {
  const { DatabaseSync } = await import('node:sqlite')
  const directory = join(folder, DATABASES)
  for (const name of await readdir(directory)) {
    if (!name.endsWith('.sqlite')) continue
    const database = new DatabaseSync(join(directory, name))
    try {
      if (database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'frozen_events'").get())
        return join(directory, name)
    } finally {
      database.close()
    }
  }
  return null
}

async function requireFrozen(folder: string): Promise<string> {
  const file = await frozenFile(folder)
  if (file !== null) return file
  throw new Failure(`${shownPath(folder)} has no database that refuses changes. End this recovery with --cancel.`)
}

const NOT_RESTORED = 'The database was not restored.'

/**
 * Runs a task while no other command uses the folder. If a process had the old file open when it is replaced, the
 * process would write the write-ahead log of the old file beside the new one.
 */
async function whileUnused(
  { patienceMs }: Context,
  folder: string,
  consequence: string,
  task: () => Promise<void>,
): Promise<void> {
  const running = await findRunningDev(folder)
  const release = running ? null : await claimFolder(folder, patienceMs)
  if (!release) {
    const words = running?.words ?? `\`npm run dev\` or another command uses ${shownPath(folder)}.`
    throw new Failure(`${words} ${consequence} Stop that process first.`)
  }
  try {
    await task()
  } finally {
    release()
  }
}

/**
 * Moves the write-ahead log into the main file of a database. Throws Failure if another process has the database open.
 */
async function settle({ patienceMs }: Context, file: string): Promise<void> {
  const { DatabaseSync } = await import('node:sqlite')
  const database = new DatabaseSync(file, { timeout: patienceMs })
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)')
  } catch (error) {
    throw new Failure(
      `Another process has ${shownPath(file)} open (${(error as Error).message}). ${NOT_RESTORED} Stop that process first.`,
    )
  } finally {
    database.close()
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
