import type { Command } from '@commander-js/extra-typings'
import { SCHEMA_VERSION } from '../storage/migrations.ts'
import { type Context, jsonOption, print } from './command.ts'
import { persistToOption, withRegions } from './operator-database.ts'

export function addMigrateCommand(program: Command, context: Context): void {
  program
    .command('migrate')
    .description(
      'Bring the local database up to date, as `npm run dev` does when it starts. `npm run deploy` updates the deployed database.',
    )
    .addOption(persistToOption())
    .addOption(jsonOption())
    .action(async (options) => {
      // Opening a region migrates it.
      const count = await withRegions(context, options, async ({ regions }) => regions.length)
      await print(
        context,
        options.json
          ? { schema_version: SCHEMA_VERSION }
          : count === 1
            ? 'The local database is up to date.'
            : `The local databases of ${count} regions are up to date.`,
      )
    })
}
