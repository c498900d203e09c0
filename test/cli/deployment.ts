import { appendFileSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { refusalOf } from '../../src/cli/cloudflare-api.ts'
import type { Account, Platform } from '../../src/cli/command.ts'
import { type DeployPlan, deploySteps } from '../../src/cli/deploy-steps.ts'
import type { Finished } from '../../src/cli/wrangler.ts'
import { listApiKeys } from '../../src/storage/operator/api-keys.ts'
import { listEnvironments } from '../../src/storage/operator/environments.ts'
import { Cloudflare, Refusal } from './cloudflare.ts'
import { applyMigrations } from './databases.ts'
import { regionsOf } from './terminal.ts'

/** `npm run deploy` as a function, over the stand-in for Cloudflare and real D1 databases. */

export const URL = 'https://oncekey.jane.workers.dev'

const RATE_LIMITS = ['MANAGEMENT_CALLS', 'FAILED_AUTHENTICATIONS'].map((name, i) => ({ name, namespace_id: `100${i}` }))

export const plan: DeployPlan = {
  accountId: undefined,
  name: 'oncekey',
  regions: [{ digit: '0', binding: 'DB', databaseName: 'oncekey', localId: 'DB' }],
  locations: { locations: new Map([['', { location: 'weur' }]]), isAnywhere: false },
  routes: [],
  workersDev: undefined,
  canTakeDomain: false,
  issuer: '',
  configuration: {
    name: 'oncekey',
    vars: { ISSUER: '', REGIONS: '0=DB' },
    ratelimits: RATE_LIMITS,
    d1_databases: [{ binding: 'DB', database_name: 'oncekey' }],
  },
  folder: tmpdir(),
  environment: 'production',
  unattended: null,
}

/** The plan with a custom domain. */
export const customDomain = (hostname: string): Partial<DeployPlan> => {
  const routes = [{ pattern: hostname, custom_domain: true }]
  return { routes, configuration: { ...plan.configuration, routes } }
}

/** The plan with a second region. */
export const twoRegions: Partial<DeployPlan> = {
  regions: [...plan.regions, { digit: '1', binding: 'DB_APAC', databaseName: 'oncekey-apac', localId: 'DB_APAC' }],
  locations: {
    locations: new Map([
      ['0', { location: 'weur' }],
      ['1', { location: 'apac' }],
    ]),
    isAnywhere: false,
  },
  configuration: {
    ...plan.configuration,
    vars: { ISSUER: '', REGIONS: '0=DB,1=DB_APAC' },
    d1_databases: [
      { binding: 'DB', database_name: 'oncekey' },
      { binding: 'DB_APAC', database_name: 'oncekey-apac' },
    ],
  },
}

/** The part of a configuration that the stand-in for wrangler reads. */
interface Configuration {
  readonly vars: Record<string, string>
  readonly d1_databases: readonly { readonly binding: string; readonly database_id: string }[]
  readonly ratelimits: readonly { readonly name: string; readonly namespace_id: string }[]
  readonly routes?: readonly { readonly pattern: string; readonly custom_domain?: boolean }[]
  readonly workers_dev?: boolean
}

export class Deployment {
  readonly cloudflare = new Cloudflare()
  /** The runs of wrangler, without the path of the configuration. */
  readonly runs: string[] = []
  /** The URLs that were fetched. */
  readonly fetched: string[] = []
  /** The run of wrangler, or `open` for opening the database, that fails once: before or after it takes effect. */
  broken = ''
  /** How many requests to the Worker fail before the first answer. */
  silence = 0
  /** The message with which the Worker says that it is not ready. */
  refusal = ''

  readonly platform: Platform = {
    login: async () => this.#login(),
    wrangler: (args, options) => this.#wrangler(args, options?.env ?? {}),
    openRegions: async () => {
      this.#breakAt('open')
      return regionsOf(...this.cloudflare.databases.map(({ d1 }) => d1))
    },
    fetch: async (url) => {
      this.fetched.push(url)
      if (this.silence-- > 0) throw new TypeError('fetch failed', { cause: new Error('getaddrinfo ENOTFOUND') })
      if (this.refusal) return Response.json({ message: this.refusal }, { status: 503 })
      return Response.json(this.cloudflare.readiness())
    },
    sleep: async () => {},
    now: () => Date.now(),
  }

  async database(index = 0) {
    const { regions } = regionsOf(...this.cloudflare.databases.map(({ d1 }) => d1))
    return (regions[index] ?? regions[0]).open()
  }

  /** Runs all steps, or those up to the first that fails. */
  async deploy(changes: Partial<DeployPlan> = {}, ask?: (question: string) => Promise<string>) {
    const said: string[] = []
    const context = { platform: this.platform, progress: (line: string) => void said.push(line), ask }
    const { steps, deployed } = deploySteps(context, { ...plan, ...changes })
    for (const { run } of steps) said.push(await run())
    return { ...deployed(), said }
  }

  async created() {
    const database = await this.database()
    const environments = await listEnvironments(database)
    const keys = await Promise.all(environments.map(({ id }) => listApiKeys(database, id)))
    return { environments: environments.map(({ name }) => name), keys: keys.flat() }
  }

  #breakAt(words: string): void {
    if (this.broken !== words) return
    this.broken = ''
    throw new Error('broken off')
  }

  async #login(): Promise<Account> {
    const { account } = this.cloudflare
    const call = (async (method: string, path: string, body?: object) => {
      const answer = await this.cloudflare.answer(method, path, body)
      if (answer instanceof Refusal) throw refusalOf(answer.status, answer.error)
      return answer
    }) as Account['call']
    return { id: account.id, description: `Logged in as jane@example.com, account ${account.name}.`, call }
  }

  async #wrangler(args: readonly string[], env: Record<string, string>): Promise<Finished> {
    const file = args[args.indexOf('--config') + 1] ?? ''
    const run = args.slice(0, -2).join(' ')
    this.runs.push(run)
    const configuration: Configuration = JSON.parse(readFileSync(file, 'utf8'))
    const isBroken = this.broken === run
    if (isBroken) this.broken = ''
    const failed = { code: 1, stdout: '', stderr: '\n✘ [ERROR] The platform said no. [code: 10001]\n\n\n' }
    if (isBroken && !this.cloudflare.isReplyLost) return failed
    const [, name] = /^d1 migrations apply (\S+) --remote$/.exec(run) ?? []
    if (name) {
      const found = this.cloudflare.databases.find(({ described }) => described.name === name)
      await applyMigrations(found?.d1 as D1Database)
    } else if (run === 'deploy' || run === 'versions upload') {
      const id = await this.#upload(configuration, run === 'deploy')
      appendFileSync(env.WRANGLER_OUTPUT_FILE_PATH ?? '', `{"type":"x"}\n{"type":"deploy","version_id":"${id}"}\n`)
    } else if (run !== 'deploy --dry-run') {
      throw new Error(`the stand-in does not know: wrangler ${run}`)
    }
    return isBroken ? failed : { code: 0, stdout: 'Total Upload: 9 KiB / gzip: 3 KiB', stderr: '' }
  }

  async #upload(configuration: Configuration, isDeployed: boolean): Promise<string> {
    const { vars, d1_databases, ratelimits, routes = [], workers_dev } = configuration
    const id = this.cloudflare.addVersion(
      {
        bindings: [
          ...Object.entries(vars).map(([name, text]) => ({ type: 'plain_text', name, text })),
          ...d1_databases.map(({ binding, database_id }) => ({ type: 'd1', name: binding, id: database_id })),
          ...ratelimits.map(({ name, namespace_id }) => ({ type: 'ratelimit', name, text: namespace_id })),
        ],
      },
      isDeployed,
    )
    if (!isDeployed) return id
    this.cloudflare.addresses.enabled = workers_dev ?? routes.length === 0
    // When its output is not a terminal, wrangler takes the domain from its current use without asking.
    for (const { pattern } of routes) this.cloudflare.domains[pattern] = 'oncekey'
    return id
  }
}
