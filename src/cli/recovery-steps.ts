import { derivedId } from '../credential/id.ts'
import type { Database } from '../storage/database.ts'
import { freeze, unfreeze } from '../storage/operator/freeze.ts'
import {
  applyRestrictions,
  captureChanges,
  RECOVERED_TABLES,
  type RecoveredTable,
  type Restriction,
  readRestored,
} from '../storage/operator/recovery.ts'
import { type Row, recountApplications } from '../storage/operator/transfer.ts'
import { type Context, Failure, type Step } from './command.ts'
import { PHASES, type Phase, type RecoveryFiles, type State } from './recovery-state.ts'

/** A database that can be restored, and the programs that use it. */
export interface RecoveryTarget {
  /** The name of the database in messages and in the state file. */
  readonly name: string
  /** Finds the state to restore, the last one at or before `to`. */
  readonly findPoint: (to: Date) => Promise<string>
  /** Returns the bookmark or the path of the present state, with which the operator can undo the recovery. */
  readonly findUndo: (startedAt: number) => Promise<string>
  /** Returns a time in Unix ms. The restored state has every change from before that time. */
  readonly timeOf: (point: string, to: Date) => Promise<number>
  readonly withLive: <T>(use: (database: Database) => Promise<T>) => Promise<T>
  /** Keeps every program from using the database until `open`. */
  readonly close: () => Promise<string>
  readonly restore: (point: string) => Promise<string>
  readonly withRestored: <T>(use: (database: Database) => Promise<T>) => Promise<T>
  readonly open: (undo: string) => Promise<string>
  /** Undoes `close` if necessary. `phase` is the phase of an interrupted recovery. */
  readonly cancel: (phase: Phase | null) => Promise<void>
  /** The command with which the operator undoes the restore. */
  readonly undoCommand: (undo: string) => string
}

/**
 * A recovery also reads the changes of this time before the time that it restores, because the clocks of the Workers may
 * differ from D1's. Too many changes do no harm: one that the restored database already has is not applied again.
 */
const MARGIN_MS = 60 * 60 * 1000

/** Rows per request. A row has at most some 64 KB, and a response of D1 less than 32 MiB. */
const PAGE_ROWS = 400
const BATCH_ROWS = 500
/** Characters per request. D1 takes strings of at most 2 MB, and lists of scopes and IP ranges make some rows long. */
const BATCH_LENGTH = 400_000
const PROGRESS_PAGES = 20

interface ReportedObject {
  readonly type: string
  readonly id: string
  readonly [member: string]: unknown
}

interface Undone {
  readonly before: unknown
  readonly restored: unknown
}

export interface Report {
  readonly to: string
  /** The command that restores the state before the recovery. */
  readonly undo: string
  /** How many changes were applied again, by table. */
  readonly applied: Readonly<Record<string, number>>
  /** Objects that were created after the restored time, and no longer exist. */
  readonly gone: readonly ReportedObject[]
  /** Objects with changes that the restore undid, such as a later expiry, with the old and the restored values. */
  readonly undone: readonly (ReportedObject & { readonly changes: Readonly<Record<string, Undone>> })[]
  /** The path of this report. */
  readonly file: string
}

/**
 * Restores a database to an earlier time without reactivating revoked credentials. No revocation is missed: the
 * database refuses changes before the revocations are read. No revoked secret authenticates: the Worker is closed
 * before the restore, and opens only after these secrets are revoked again.
 */
export function recoverySteps(
  { progress, platform }: Pick<Context, 'progress' | 'platform'>,
  target: RecoveryTarget,
  files: RecoveryFiles,
  to: Date,
): { steps: Step[]; report: () => Report } {
  let state: State
  let changes: Restriction[] | null = null
  let report: Report

  const isPast = (phase: Phase) => PHASES.indexOf(state.phase) >= PHASES.indexOf(phase)
  const save = async (change: Partial<State>) => {
    state = { ...state, ...change }
    await files.writeState(state)
  }
  const once = (phase: Phase, done: string, run: () => Promise<string>) => async () => {
    if (isPast(phase)) return done
    const words = await run()
    await save({ phase })
    return words
  }
  const readChanges = async () => {
    changes ??= (await files.readChanges()).sort((a, b) => a.row.changed_at - b.row.changed_at)
    return changes
  }

  const steps: Step[] = [
    {
      title: `Find the state of ${target.name} at ${to.toISOString()}`,
      run: async () => {
        const found = await files.readState()
        if (found) {
          requireSame(found, target, to)
          state = found
          return `Continuing the recovery of ${new Date(found.started_at).toISOString()}.`
        }
        const startedAt = platform.now()
        const point = await target.findPoint(to)
        state = {
          ...{ version: 1, database: target.name, to: to.toISOString(), started_at: startedAt },
          ...{ point, undo: '', phase: 'begun', applied: 0, counts: {} },
        }
        await files.writeState(state)
        return `Found: ${point}.`
      },
    },
    {
      title: 'Refuse changes, but allow reads',
      run: once('frozen', 'Changes are refused.', async () => {
        await target.withLive(freeze)
        return 'From now on every change is refused with 503.'
      }),
    },
    {
      title: 'Read what was revoked, disabled, deleted and created since',
      run: once('captured', 'It was read.', async () => {
        const since = (await target.timeOf(state.point, to)) - MARGIN_MS
        const found = await target.withLive((database) => capture(database, since, state.started_at, progress))
        await files.writeChanges(found)
        await save({ undo: await target.findUndo(state.started_at) })
        return `Objects that have changed: ${found.length}. To undo the recovery afterwards: ${target.undoCommand(state.undo)}`
      }),
    },
    { title: 'Close the Worker', run: once('closed', 'It is closed.', target.close) },
    {
      title: `Restore ${target.name}`,
      run: once('restored', 'It was restored.', async () => {
        // The phase is recorded before the restore, because an interrupted restore may have taken effect. The next run
        // then restores the same state again.
        await save({ phase: 'restoring' })
        return target.restore(state.point)
      }),
    },
    {
      title: 'Revoke, disable and delete again what was revoked, disabled and deleted since',
      run: once('applied', 'It was applied.', async () => {
        const all = await readChanges()
        const counted = all.filter(({ table }) => table === 'applications').map(({ row }) => row.environment_id)
        await target.withRestored(async (database) => {
          // The restored state may be from the time of another recovery, when the database refused changes.
          await unfreeze(database)
          while (state.applied < all.length) {
            const batch = batchFrom(all, state.applied)
            const counts = await applyRestrictions(database, batch, platform.now())
            const sums = Object.entries(counts).flatMap(([table, count]) =>
              count > 0 ? [[table, (state.counts[table] ?? 0) + count]] : [],
            )
            await save({
              applied: state.applied + batch.length,
              counts: { ...state.counts, ...Object.fromEntries(sums) },
            })
            progress(`      ${state.applied} of ${all.length}`)
          }
          for (const id of new Set(counted)) await recountApplications(database, id)
        })
        const total = Object.values(state.counts).reduce((sum, count) => sum + count, 0)
        return `Applied: ${total}. The restored database already had the other changes, or they do not restrict access.`
      }),
    },
    {
      title: 'Find what was created or changed since, and is lost',
      run: async () => {
        const all = await readChanges()
        const lost = await target.withRestored((database) => findLost(database, all))
        const found = { to: state.to, undo: target.undoCommand(state.undo), applied: state.counts, ...lost }
        const file = await files.writeReport(found, state.started_at)
        report = { ...found, file }
        return `Objects that are gone: ${lost.gone.length}. Objects with undone changes: ${lost.undone.length}. The report is in ${file}.`
      },
    },
    {
      title: 'Open the Worker',
      run: async () => {
        const words = await target.open(state.undo)
        await files.remove()
        return words
      },
    },
  ]
  return { steps, report: () => report }
}

/** Ends a recovery that has not restored anything, and allows changes again. */
export async function cancelRecovery(target: RecoveryTarget, files: RecoveryFiles): Promise<string> {
  const state = await files.readState()
  if (state && PHASES.indexOf(state.phase) >= PHASES.indexOf('restoring')) {
    throw new Failure(
      `The restore of ${state.database} has begun, so secrets that were revoked may be active in it. Nothing was changed. Finish it with --to ${state.to}.`,
    )
  }
  await target.withLive(unfreeze)
  await target.cancel(state?.phase ?? null)
  await files.remove()
  return `${target.name} accepts changes.`
}

function requireSame(found: State, target: RecoveryTarget, to: Date): void {
  if (found.database === target.name && found.to === to.toISOString()) return
  throw new Failure(
    `A recovery of ${found.database} to ${found.to} was interrupted. Nothing was changed. Finish it with --to ${found.to}, or end it with --cancel.`,
  )
}

async function capture(
  database: Database,
  since: number,
  startedAt: number,
  progress: (line: string) => void,
): Promise<Restriction[]> {
  const changes: Restriction[] = []
  for (const table of RECOVERED_TABLES) {
    let after: Row | null = null
    for (let page = 1; ; page++) {
      const { rows, last }: Awaited<ReturnType<typeof captureChanges>> = await captureChanges(
        ...([database, table, since, after, PAGE_ROWS] as const),
      )
      changes.push(...rows.map((row) => ({ table, row, eventId: derivedId('event', startedAt, row.id) })))
      if (last === null) break
      after = last
      if (page % PROGRESS_PAGES === 0) progress(`      ${table}: ${page * PAGE_ROWS} rows read`)
    }
  }
  return changes
}

/** The next changes that fit into one request. */
function batchFrom(all: readonly Restriction[], start: number): Restriction[] {
  const batch: Restriction[] = []
  let length = 0
  for (const change of all.slice(start, start + BATCH_ROWS)) {
    length += JSON.stringify(change).length
    if (batch.length > 0 && length > BATCH_LENGTH) break
    batch.push(change)
  }
  return batch
}

/** The objects and changes that the restored database lacks. Sessions are omitted, because people can sign in again. */
async function findLost(
  database: Database,
  changes: readonly Restriction[],
): Promise<{ gone: ReportedObject[]; undone: Report['undone'][number][] }> {
  const gone: ReportedObject[] = []
  const undone: Report['undone'][number][] = []
  for (const table of RECOVERED_TABLES) {
    if (table === 'sessions') continue
    const rows = changes.flatMap((change) => (change.table === table ? [change.row] : []))
    for (let next = 0; next < rows.length; next += PAGE_ROWS) {
      const page = rows.slice(next, next + PAGE_ROWS)
      const restored = await readRestored(database, table, page)
      for (const row of page) {
        const now = restored.get(row.id)
        const undoneChanges = now && undoneChangesOf(row, now)
        if (!undoneChanges) gone.push(describe(table, row))
        else if (Object.keys(undoneChanges).length > 0) undone.push({ ...describe(table, row), changes: undoneChanges })
      }
    }
  }
  return { gone, undone }
}

/**
 * The members that differ. Two times of a revocation, disabling, deletion or freeze count as equal, because this
 * recovery may have set another time.
 */
function undoneChangesOf(before: Row, restored: Row): Record<string, Undone> {
  const isSame = (name: string) =>
    before[name] === restored[name] ||
    (/^(revoked|disabled|deleted|frozen)_at$/.test(name) && before[name] !== null && restored[name] !== null)
  return Object.fromEntries(
    Object.keys(restored)
      .filter((name) => !isSame(name))
      .map((name) => [name, { before: before[name], restored: restored[name] }]),
  )
}

/** An object as the report shows it, without secrets. */
function describe(table: RecoveredTable, row: Restriction['row']): ReportedObject {
  const { id, name, secret_hint, client_id, url, application_id, environment_id } = row as Record<string, unknown>
  const members = { name, secret_hint, client_id, url, application_id, environment_id }
  const known = Object.entries(members).filter(([, value]) => value !== undefined && value !== null)
  return {
    type: table,
    id: String(id),
    ...Object.fromEntries(known),
    created_at: new Date(row.created_at).toISOString(),
  }
}
