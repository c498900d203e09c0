import { type Command, Option } from '@commander-js/extra-typings'
import { sha256 } from '../credential/digest.ts'
import { findApiKey, revokeApiKey } from '../storage/operator/api-keys.ts'
import { type Bootstrap, bootstrapToJson, bootstrapToText } from './bootstrap.ts'
import { type Context, checkName, Failure, jsonOption, print, printOnce, runSteps, showSteps } from './command.ts'
import { readConfiguration, requireValidSettings } from './configuration.ts'
import { deploySteps } from './deploy-steps.ts'
import { reasonOf } from './wrangler.ts'

const LOCATIONS = ['weur', 'eeur', 'apac', 'oc', 'wnam', 'enam'] as const
const JURISDICTIONS = ['eu', 'fedramp', 'us'] as const

export function addDeployCommand(program: Command, context: Context): void {
  program
    .command('deploy')
    .description(
      'Deploy Oncekey to your Cloudflare account, the first time and every later time. If it stops, run it again: finished steps are kept.',
    )
    .addOption(
      new Option('--location <PLACE>', 'Place of a new database.').choices(LOCATIONS).conflicts('jurisdiction'),
    )
    .addOption(
      new Option('--jurisdiction <NAME>', "Jurisdiction of a new database. This can't be changed later.").choices(
        JURISDICTIONS,
      ),
    )
    .option('--environment <NAME>', 'Environment that gets a first API key.', 'production')
    .option('--dry-run', 'Check the settings, show the steps, and build the Worker, without a network.')
    .addOption(jsonOption())
    .action(async (options) => {
      const { location, jurisdiction, dryRun, json } = options
      const environment = checkName('--environment', options.environment)
      const configuration = await readConfiguration()
      requireValidSettings(configuration)
      const { name, databaseName, issuer } = configuration
      const { steps, deployed } = deploySteps(context, {
        ...{ name, databaseName, issuer, location, jurisdiction, environment },
        unattended: unattendedReason(context),
      })
      if (dryRun) {
        showSteps(context, steps)
        const size = await build(context)
        const titles = steps.map(({ title }) => title)
        return print(
          context,
          json ? { dry_run: true, steps: titles } : `Nothing was deployed. The Worker builds. ${size}`,
        )
      }
      await runSteps(context, steps, 'npm run deploy')
      const { url, bootstrap } = deployed()
      if (bootstrap) return announce(context, url, bootstrap, json ?? false)
      await print(context, json ? { url } : `\n  Oncekey         ${url}\n`)
    })
}

/** An API key is shown once, so it must not be lost in /dev/null or kept in the log of a build. */
function unattendedReason({ env, hasReader }: Context): string | null {
  if (env.CI) return 'the output of CI is kept in a log'
  return hasReader ? null : 'standard output is closed or /dev/null'
}

async function build({ progress, platform }: Context): Promise<string> {
  progress('Building the Worker…')
  const finished = await platform.wrangler(['deploy', '--dry-run'])
  if (finished.code !== 0) throw new Failure(`The Worker does not build: ${reasonOf(finished)} Nothing was deployed.`)
  return /Total Upload.*/.exec(finished.stdout)?.[0] ?? ''
}

/** A key in a command line would stay in the history of the shell, and in the list of processes. */
const FIRST_CALL = `Create a client secret (paste the API key at the first command, which does not show it):

  read -rs API_KEY`

async function announce(context: Context, url: string, bootstrap: Bootstrap, isJson: boolean): Promise<void> {
  const result = isJson ? bootstrapToJson(url, bootstrap) : bootstrapToText(url, bootstrap, FIRST_CALL, '$API_KEY')
  await printOnce(context, result, {
    created: 'The first API key',
    undone: 'revoked, because it was not shown. The Worker is deployed; run `npm run deploy` again for another key',
    undo: async () => {
      const { regions, close } = await context.platform.openRegions()
      try {
        const database = await regions[0].open()
        const key = await findApiKey(database, { digest: await sha256(bootstrap.apiKey) })
        if (key) await revokeApiKey(database, key.id, context.platform.now())
      } finally {
        await close()
      }
    },
    byHand: 'npm run api-key -- list --remote, then npm run api-key -- revoke --remote ID',
  })
}
