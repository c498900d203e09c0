import { SCHEMA_VERSION } from '../storage/migrations.ts'
import { answer, command, json, main } from './command.ts'
import { persistTo, withDatabase } from './target.ts'

await main(
  command({
    name: 'migrate',
    says: 'Brings the embedded database up to date, as `dev` does when it starts. `deploy` does it for the deployed one.',
    options: { 'persist-to': persistTo, json },
    run: async (values) => {
      // It is migrated where it is opened.
      await withDatabase(values, async () => {})
      answer(values.json ? { schema_version: SCHEMA_VERSION } : 'The embedded database is up to date.')
    },
  }),
)
