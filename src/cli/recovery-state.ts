import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as v from 'valibot'
import { RECOVERED_TABLES, type Restriction } from '../storage/operator/recovery.ts'
import { Failure } from './command.ts'
import { readPrivately, writePrivately } from './private-file.ts'

/** The phases of a recovery, in order. An interrupted recovery continues after the last recorded phase. */
export const PHASES = ['begun', 'frozen', 'captured', 'closed', 'restoring', 'restored', 'applied'] as const
export type Phase = (typeof PHASES)[number]

const State = v.object({
  version: v.literal(1),
  /** The name of the database, so that a recovery is not continued on another database. */
  database: v.string(),
  /** ISO 8601. */
  to: v.string(),
  started_at: v.number(),
  /**
   * `point` is the state to restore, and `undo` the state before the restore. Both are bookmarks, or paths of files.
   */
  point: v.string(),
  undo: v.string(),
  phase: v.picklist(PHASES),
  /** How many of the captured changes have been applied again so far. */
  applied: v.number(),
  /** How many of these changes the restored state lacked, by table. */
  counts: v.record(v.string(), v.number()),
})
export type State = v.InferOutput<typeof State>

const Changes = v.array(
  v.object({
    table: v.picklist(RECOVERED_TABLES),
    eventId: v.string(),
    row: v.objectWithRest(
      { id: v.string(), environment_id: v.string(), created_at: v.number(), changed_at: v.number() },
      v.nullable(v.union([v.string(), v.number()])),
    ),
  }),
)

/** The private files of a recovery, in a folder that the restore does not touch. */
export interface RecoveryFiles {
  readonly readState: () => Promise<State | null>
  readonly writeState: (state: State) => Promise<void>
  readonly readChanges: () => Promise<Restriction[]>
  readonly writeChanges: (changes: readonly Restriction[]) => Promise<void>
  /** Saves the report, and returns its path. */
  readonly writeReport: (report: object, startedAt: number) => Promise<string>
  readonly remove: () => Promise<void>
}

export function recoveryFiles(folder: string): RecoveryFiles {
  const [stateFile, changesFile] = [join(folder, 'recovery.json'), join(folder, 'recovery-changes.json')]
  return {
    readState: () => read(stateFile, State, null),
    writeState: (state) => writePrivately(stateFile, JSON.stringify(state)),
    readChanges: async () => (await read(changesFile, Changes, [])) as Restriction[],
    writeChanges: (changes) => writePrivately(changesFile, JSON.stringify(changes)),
    writeReport: async (report, startedAt) => {
      const file = join(folder, `recovered-${new Date(startedAt).toISOString().replace(/[:.]/g, '-')}.json`)
      await writePrivately(file, JSON.stringify(report))
      return file
    },
    remove: async () => {
      // Remove the state file last. If this is interrupted, the next run still finds the recovery.
      for (const file of [changesFile, stateFile]) await rm(file, { force: true })
    },
  }
}

async function read<Schema extends v.GenericSchema>(
  file: string,
  schema: Schema,
  missing: v.InferOutput<Schema> | null,
): Promise<v.InferOutput<Schema> | null> {
  const text = await readPrivately(file)
  if (text === null) return missing
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), text)
  if (parsed.success) return parsed.output
  throw new Failure(
    `${file} is damaged. Nothing was changed. Restore the file from a backup: the recovery cannot continue without it.`,
  )
}
