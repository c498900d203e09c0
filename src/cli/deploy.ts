import { type Command, Option } from '@commander-js/extra-typings'
import { sha256 } from '../credential/digest.ts'
import { findApiKey, revokeApiKey } from '../storage/operator/api-keys.ts'
import { type Bootstrap, bootstrapToJson, bootstrapToText } from './bootstrap.ts'
import { type Context, checkName, Failure, jsonOption, print, printOnce, runSteps, showSteps } from './command.ts'
import { readConfiguration, readRawConfiguration, regionDatabases, requireValidSettings } from './configuration.ts'
import { gradualSteps, nextCommands } from './deploy-gradually.ts'
import { locationOf, locationOptions } from './deploy-locations.ts'
import { type DeployPlan, deploySteps } from './deploy-steps.ts'
import { configurationFor, namespaceId, rateLimits, withConfiguration } from './deploy-worker.ts'
import { reasonOf, root } from './wrangler.ts'

export function addDeployCommand(program: Command, context: Context): void {
  const collect = (value: string, earlier: string[] = []) => [...earlier, value]
  program
    .command('deploy')
    .description(
      'Deploy Oncekey to your Cloudflare account, the first time and every later time. If the command stops, run it again: finished steps are kept.',
    )
    .addOption(
      new Option(
        '--location <LOCATION>',
        "Where a new database is created: weur, eeur, apac, oc, wnam or enam. With several regions, DIGIT=LOCATION for each. This can't be changed later.",
      ).argParser(collect),
    )
    .addOption(
      new Option(
        '--jurisdiction <NAME>',
        "Jurisdiction of a new database: eu, us or fedramp. With several regions, DIGIT=NAME for each. This can't be changed later.",
      ).argParser(collect),
    )
    .addOption(new Option('--anywhere', 'Create new databases near the machine that runs this command.'))
    .option('--take-domain', 'Replace the DNS records of a custom domain, or take the domain from another Worker.')
    .option(
      '--gradual',
      'Upload a version that serves no requests yet. Print the commands that send requests to this version, and those that end the gradual deployment.',
    )
    .option('--environment <NAME>', 'Environment that gets a first API key.', 'production')
    .option('--dry-run', 'Check the settings, show the steps, and build the Worker, without network access.')
    .addOption(jsonOption())
    .action(async (options) => {
      const { takeDomain, gradual, dryRun, json } = options
      const environment = checkName('--environment', options.environment)
      const configuration = await readConfiguration()
      requireValidSettings(configuration)
      const regions = regionDatabases(configuration)
      const plan: DeployPlan = {
        ...configuration,
        ...{ regions, environment },
        locations: locationOptions(options, regions),
        configuration: await readRawConfiguration(),
        folder: root,
        canTakeDomain: takeDomain ?? false,
        unattended: unattendedReason(context),
      }
      if (dryRun) return dryRunOf(context, plan, gradual ?? false, json ?? false)
      if (gradual) return deployGradually(context, plan, json ?? false)
      const { steps, deployed } = deploySteps(context, plan)
      await runSteps(context, steps, 'npm run deploy')
      const { url, bootstrap } = deployed()
      if (bootstrap) return announce(context, url, bootstrap, json ?? false)
      await print(context, json ? { url } : `\n  Oncekey         ${url}\n`)
    })
}

async function dryRunOf(context: Context, plan: DeployPlan, isGradual: boolean, isJson: boolean): Promise<void> {
  const { steps } = isGradual ? gradualSteps(context, plan) : deploySteps(context, plan)
  showSteps(context, steps)
  const details = describePlan(plan)
  for (const line of details) context.progress(line)
  const size = await build(context, plan)
  const titles = steps.map(({ title }) => title)
  const words = `Nothing was deployed. The Worker builds. ${size}`
  await print(context, isJson ? { dry_run: true, steps: titles, details } : words)
}

async function deployGradually(context: Context, plan: DeployPlan, isJson: boolean): Promise<void> {
  const { steps, uploaded } = gradualSteps(context, plan)
  await runSteps(context, steps, 'npm run deploy -- --gradual')
  const { versionId, servingId } = uploaded()
  const words = nextCommands(plan.name, { versionId, servingId })
  await print(context, isJson ? { version_id: versionId, serving_version_id: servingId } : words)
}

/** The names and locations that a deployment would use, as far as they are known without network access. */
function describePlan({ name, regions, locations, routes, issuer, configuration }: DeployPlan): string[] {
  const patterns = routes.map((route) => (typeof route === 'string' ? route : route.pattern))
  return [
    ...regions.map((region) => {
      const { location, jurisdiction } = locationOf(region, regions, locations) ?? {}
      const place = location ?? jurisdiction ?? (locations.isAnywhere ? 'near this machine' : undefined)
      return `Region ${region.digit}: database ${region.databaseName}, location if it must be created: ${place ?? 'no location chosen yet'}`
    }),
    `Host: ${patterns.join(', ') || `${name} on workers.dev`}`,
    `Issuer of tokens: ${issuer || 'the URL that the first deployment gets'}`,
    ...rateLimits(configuration).map((limit) => `Rate limit ${limit.name}: namespace ${namespaceId(name, limit.name)}`),
    'Not checked, because that needs your Cloudflare account: the login and its permissions, the workers.dev subdomain, the domain, the database, and the deployed version. `npm run deploy` checks each of these before it changes anything there.',
  ]
}

/**
 * The reason why an API key must not be printed, or null. The key is shown only once: /dev/null would lose the key, and
 * a CI log would keep it.
 */
function unattendedReason({ env, hasReader }: Context): string | null {
  if (env.CI) return 'the output of CI is kept in a log'
  return hasReader ? null : 'standard output is closed or /dev/null'
}

async function build({ progress, platform }: Context, { configuration, name, folder }: DeployPlan): Promise<string> {
  progress('Building the Worker…')
  const changed = configurationFor(configuration, name, {})
  const finished = await withConfiguration(folder, changed, (args) =>
    platform.wrangler(['deploy', '--dry-run', ...args]),
  )
  if (finished.code !== 0) throw new Failure(`The Worker does not build: ${reasonOf(finished)} Nothing was deployed.`)
  return /Total Upload.*/.exec(finished.stdout)?.[0] ?? ''
}

/**
 * A prompt reads the API key, because a key in a command line would stay in the shell history and in the list of
 * processes.
 */
const FIRST_CALL = `Create a client secret. The first command waits for the API key: paste the key, which is not displayed.

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
