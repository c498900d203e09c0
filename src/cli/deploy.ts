import packageJson from '../../package.json' with { type: 'json' }
import { announce } from './beginning.ts'
import { answer, checkName, command, Failure, json, main, misuse, progress } from './command.ts'
import { deployment, type Platform } from './deployment.ts'
import { openRemoteDatabase, readConfig } from './remote-database.ts'
import { reasonOf, runWrangler } from './wrangler.ts'

const platform: Platform = {
  wrangler: runWrangler,
  openDatabase: openRemoteDatabase,
  fetch: (url) => fetch(url, { signal: AbortSignal.timeout(10_000), headers: { 'Cache-Control': 'no-cache' } }),
  sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
}

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
      const { name = 'oncekey', databaseName, vars } = await readConfig()
      const { steps, deployed } = deployment(platform, {
        ...{ name, databaseName, location, jurisdiction },
        environment: checkName('--environment', values.environment),
        issuer: String(vars.ISSUER ?? ''),
        version: packageJson.version,
        isUnattended: Boolean(process.env.CI),
      })
      const heading = (i: number) => `[${i + 1}/${steps.length}] ${steps[i]?.will}`
      if (values['dry-run']) {
        for (const i of steps.keys()) progress(heading(i))
        progress('Building the Worker…')
        const finished = await runWrangler(['deploy', '--dry-run'])
        if (finished.code !== 0) throw new Failure(`The Worker does not build: ${reasonOf(finished)}`)
        const [size = ''] = /Total Upload.*/.exec(finished.stdout) ?? []
        if (values.json) return answer({ dry_run: true, steps: steps.map(({ will }) => will) })
        return answer(`Nothing was done. The Worker builds. ${size}`)
      }
      for (const [i, { run }] of steps.entries()) {
        progress(`${heading(i)}…`)
        try {
          progress(`      ${await run()}`)
        } catch (error) {
          const { message } = error as Error
          throw new Failure(`${message}\nThen run \`npm run deploy\` again: it goes on from here.`)
        }
      }
      const { url, beginning } = deployed()
      if (beginning) return announce(url, beginning, values.json)
      answer(values.json ? { url } : `\n  Oncekey         ${url}\n`)
    },
  }),
)
