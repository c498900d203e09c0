import type { Command } from '@commander-js/extra-typings'
import { type Context, jsonOption, print, runSteps, shellWord, table, UsageError } from './command.ts'
import { localTarget } from './local-recovery.ts'
import { type DatabaseChoice, databaseOptions } from './operator-database.ts'
import { recoveryFiles } from './recovery-state.ts'
import { cancelRecovery, type Report, recoverySteps } from './recovery-steps.ts'
import { remoteTarget } from './remote-recovery.ts'

export function addRecoverCommand(program: Command, context: Context): void {
  databaseOptions(program.command('recover'))
    .description(
      'Restore a database to an earlier time, without bringing back what was revoked, disabled or deleted since. If the command stops, run it again: finished steps are kept.',
    )
    .option('--to <TIME>', 'Time to restore, such as 2026-11-26T08:00:00Z.')
    .option('--from <FILE>', 'Copy of the local database file, made at the time of --to. Only for the local database.')
    .option('--region <REGION>', 'Region, by digit or binding. Default: the first one.')
    .option(
      '--cancel',
      'End a recovery that has not begun its restore, or whose restore was undone. The database accepts changes again.',
    )
    .addOption(jsonOption())
    .action(async (options) => {
      const { remote, json, cancel, region } = options
      if (cancel && (options.to ?? options.from) !== undefined)
        throw new UsageError('--cancel takes neither --to nor --from.')
      if (remote && options.from !== undefined) throw new UsageError('--from is for the local database only.')
      if (!remote && !cancel && options.from === undefined) {
        throw new UsageError('--from is missing. The local database has no Time Travel: name a copy of its file.')
      }
      const to = cancel ? null : timeOf(options.to, context.platform.now())
      const { target, folder } = remote ? await remoteTarget(context, region) : localTarget(context, options)
      const files = recoveryFiles(folder)
      if (to === null) {
        const words = await cancelRecovery(target, files)
        return print(context, json ? { cancelled: target.name } : words)
      }
      const { steps, report } = recoverySteps(context, target, files, to)
      await runSteps(context, steps, commandOf(options))
      await show(context, report(), json)
    })
}

/** A time zone is required, because a time without a zone means different times on different machines. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)$/

function timeOf(text: string | undefined, now: number): Date {
  if (text === undefined) throw new UsageError('--to is missing.')
  const time = new Date(TIME.test(text) ? text : Number.NaN)
  if (Number.isNaN(time.getTime())) {
    throw new UsageError('--to must be a time with its zone, such as 2026-11-26T08:00:00Z.')
  }
  if (time.getTime() >= now) throw new UsageError('--to must be in the past.')
  return time
}

/** The command that continues the recovery. */
function commandOf({ to, from, region, remote, persistTo }: RecoverOptions): string {
  const given = { to, from, region, 'persist-to': persistTo }
  const words = Object.entries(given).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, shellWord(value)],
  )
  return ['npm run recover --', ...words, ...(remote ? ['--remote'] : [])].join(' ')
}

interface RecoverOptions extends DatabaseChoice {
  readonly to?: string | undefined
  readonly from?: string | undefined
  readonly region?: string | undefined
}

async function show(context: Context, report: Report, isJson = false): Promise<void> {
  if (isJson) return print(context, report)
  const { applied, gone, undone, to, undo, file } = report
  const counts = Object.entries(applied).map(([name, count]) => [name, String(count)])
  if (counts.length > 0) await print(context, table(['APPLIED AGAIN', 'COUNT'], counts))
  if (gone.length > 0) {
    const rows = gone.map(({ type, id, name, url, secret_hint }) => [
      ...[type, id, String(name ?? url ?? ''), String(secret_hint ?? '')],
    ])
    await print(context, `\nCreated after ${to}, and gone:\n${table(['TABLE', 'ID', 'NAME', 'HINT'], rows)}`)
  }
  if (undone.length > 0) {
    const rows = undone.map(({ type, id, name, changes }) => [
      ...[type, id, String(name ?? ''), Object.keys(changes).join(', ')],
    ])
    await print(context, `\nChanged after ${to}, and undone:\n${table(['TABLE', 'ID', 'NAME', 'MEMBERS'], rows)}`)
  }
  await print(context, `\nRestored to ${to}. This report is in ${file}.\nUndo: ${undo}`)
}
