import packageJson from '../../package.json' with { type: 'json' }
import { announce } from './beginning.ts'
import { answer, checkName, command, Failure, json, main, misuse, progress } from './command.ts'
import { deployment } from './deployment.ts'
import { platform } from './platform.ts'
import { readConfig } from './remote-database.ts'
import { runSteps, showSteps } from './steps.ts'
import { reasonOf, runWrangler } from './wrangler.ts'

await main(
  command({
    name: 'deploy',
    says: 'Puts Oncekey on your Cloudflare account, the first time and every later one. Whatever stopped it, run it again: what is done stays done.',
    options: {
      location: {
        type: 'string',
        choices: ['weur', 'eeur', 'apac', 'oc', 'wnam', 'enam'],
        says: 'Where a new database should be.',
      },
      jurisdiction: {
        type: 'string',
        choices: ['eu', 'fedramp', 'us'],
        says: 'What a new database must never leave. It cannot be changed later.',
      },
      environment: {
        type: 'string',
        value: 'NAME',
        says: 'The environment that gets a first API key.',
        default: 'production',
      },
      'dry-run': { type: 'boolean', says: 'Show what would be done, and build the Worker; offline.' },
      json: { ...json, says: 'When done, say so in one line of JSON on stdout.' },
    },
    run: async (values) => {
      const { location, jurisdiction } = values
      if (location && jurisdiction) misuse('A jurisdiction leaves no choice of --location: give one of them.')
      const { name, databaseName, issuer } = await readConfig()
      const { steps, deployed } = deployment(platform, {
        ...{ name, databaseName, issuer, location, jurisdiction },
        environment: checkName('--environment', values.environment),
        version: packageJson.version,
        isUnattended: Boolean(process.env.CI),
      })
      if (values['dry-run']) {
        showSteps(steps)
        progress('Building the Worker…')
        const finished = await runWrangler(['deploy', '--dry-run'])
        if (finished.code !== 0) throw new Failure(`The Worker does not build: ${reasonOf(finished)}`)
        const [size = ''] = /Total Upload.*/.exec(finished.stdout) ?? []
        if (values.json) return answer({ dry_run: true, steps: steps.map(({ will }) => will) })
        return answer(`Nothing was done. The Worker builds. ${size}`)
      }
      await runSteps(steps, 'npm run deploy')
      const { url, beginning } = deployed()
      if (beginning) return announce(url, beginning, values.json)
      answer(values.json ? { url } : `\n  Oncekey         ${url}\n`)
    },
  }),
)
