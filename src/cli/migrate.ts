import type { Command } from '@commander-js/extra-typings'
import { SCHEMA_VERSION } from '../storage/migrations.ts'
import { type Context, jsonOption, print } from './command.ts'
import { persistToOption, withDatabase } from './operator-database.ts'

export function addMigrateCommand(program: Command, context: Context): void {
  program
    .command('migrate')
    .description(
      'Bring the local database up to date, as `npm run dev` does when it starts. `npm run deploy` does so for the deployed one.',
    )
    .addOption(persistToOption())
    .addOption(jsonOption())
    .action(async (options) => {
      // Opening it migrates it.
      await withDatabase(context, options, async () => {})
      await print(context, options.json ? { schema_version: SCHEMA_VERSION } : 'The local database is up to date.')
    })
}
