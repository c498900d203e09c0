import type { Command } from '@commander-js/extra-typings'
import { environmentToWire } from '../contract/wire.ts'
import { changeOfEnvironment } from '../storage/environments.ts'
import { changeEnvironmentOf } from '../storage/operator/environments.ts'
import { type Context, jsonOption, print, shellWord } from './command.ts'
import { choiceWords, databaseOptions, withRegions } from './operator-database.ts'
import { environmentNamed } from './regions.ts'

export function addFreezeCommand(program: Command, context: Context): void {
  databaseOptions(program.command('freeze'))
    .description('Stop an environment from issuing secrets and tokens. Reads and revocations still work.')
    .requiredOption('--environment <NAME>', 'Environment, by name or ID.')
    .option('--lift', 'Lift the freeze.')
    .addOption(jsonOption())
    .action(async (options) => {
      const now = Date.now()
      const change = changeOfEnvironment({ frozen: options.lift === undefined }, now)
      const environment = await withRegions(context, options, async (open) => {
        const { database, id } = await environmentNamed(open, options.environment)
        return changeEnvironmentOf(database, id, now, change)
      })
      if (options.json) return print(context, environmentToWire(environment))
      const { name } = environment
      if (options.lift) return print(context, `${name} is not frozen: it issues secrets and tokens.`)
      const next = `npm run freeze -- --environment ${shellWord(name)}${choiceWords(options)} --lift`
      await print(context, `${name} is frozen: it issues no secrets and no tokens. To lift the freeze: ${next}`)
    })
}
