import { appendFileSync, readFileSync } from 'node:fs'
import { readD1Migrations } from '@cloudflare/vitest-plugin'
import { convertV4MiniflareOptions, Miniflare } from 'miniflare'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { begin } from '../../src/cli/beginning.ts'
import { type Deployed, deployment, type Plan, type Platform } from '../../src/cli/deployment.ts'
import { operatorDatabase } from '../../src/cli/operator-database.ts'
import type { Finished } from '../../src/cli/wrangler.ts'
import { sha256 } from '../../src/credential/digest.ts'
import { findApplication } from '../../src/storage/applications.ts'
import type { Database } from '../../src/storage/database.ts'
import { findApiKey, listApiKeys, revokeApiKey } from '../../src/storage/operator/api-keys.ts'
import { listEnvironments } from '../../src/storage/operator/environments.ts'
import { withBatch } from '../faults/wrapped.ts'

/** Every run of `npm run deploy`, against a stand-in for the platform's answers, and a real D1. */

const migrations = await readD1Migrations('src/storage/migrations')
const runtime = new Miniflare(
  convertV4MiniflareOptions({
    workers: [{ modules: true, script: 'export default {}', d1Databases: databaseNames() }],
  }),
)
let used = 0

beforeAll(() => runtime.ready)
afterAll(() => runtime.dispose())

function databaseNames(): string[] {
  return Array.from({ length: 40 }, (_, i) => `DB${i}`)
}

const plan: Plan = {
  name: 'oncekey',
  databaseName: 'oncekey',
  issuer: '',
  version: '1.2.3',
  location: undefined,
  jurisdiction: undefined,
  environment: 'production',
  isUnattended: false,
}

/** An account, as wrangler tells of it and changes it. */
class Account {
  readonly calls: string[] = []
  readonly databases: { uuid: string; name: string; jurisdiction?: string }[] = []
  /** What the deployed version has for ISSUER; undefined while there is no Worker. */
  issuer: string | undefined
  /** The Worker's secrets. */
  secrets: Record<string, string> = {}
  targets = ['oncekey.jane.workers.dev', 'schedule: * * * * *']
  user: object = { loggedIn: true, email: 'jane@example.com', accounts: [{ id: 'a', name: 'Jane’s' }] }
  /** What goes wrong, once: wrangler's words, its address, or the opening of the database. */
  broken: string | null = null
  /** How often the address does not answer before it does. */
  silence = 0
  #database: Database | undefined

  async database(): Promise<Database> {
    this.#database ??= operatorDatabase(await runtime.getD1Database(`DB${used++}`))
    return this.#database
  }

  get platform(): Platform {
    return {
      wrangler: (args, env) => this.#wrangler(args.join(' '), env),
      openDatabase: async () => {
        this.#breakAt('open')
        return { database: await this.database(), close: async () => {} }
      },
      fetch: async (url) => {
        this.calls.push(`GET ${url}`)
        this.#breakAt('GET')
        if (this.silence-- > 0) throw new TypeError('fetch failed', { cause: new Error('getaddrinfo ENOTFOUND') })
        return Response.json({ status: 'ok', version: plan.version })
      },
      sleep: async () => {},
    }
  }

  #breakAt(words: string): void {
    if (!this.broken || !words.startsWith(this.broken)) return
    this.broken = null
    throw new Error('broken off')
  }

  async #wrangler(args: string, env: Record<string, string> = {}): Promise<Finished> {
    this.calls.push(args.replace(/ --secrets-file \S+/, ' --secrets-file FILE'))
    if (this.broken && args.startsWith(this.broken)) {
      this.broken = null
      return { code: 1, stdout: '', stderr: '\n✘ [ERROR] The platform said no. [code: 10001]\n\n\n' }
    }
    const says = (answer: unknown) => ({ code: 0, stdout: `\n${JSON.stringify(answer, null, 2)}\n`, stderr: '' })
    const fails = (words: string) => ({ code: 1, stdout: '', stderr: `✘ [ERROR] ${words}` })
    if (args === 'whoami --json') return { ...says(this.user), code: 'email' in this.user ? 0 : 1 }
    if (args === 'd1 list --json') return says(this.databases)
    if (args.startsWith('d1 create oncekey')) {
      const [, jurisdiction] = /--jurisdiction (\w+)/.exec(args) ?? []
      this.databases.push({ uuid: 'uuid', name: 'oncekey', ...(jurisdiction && { jurisdiction }) })
      return says('made')
    }
    if (args === 'd1 migrations apply oncekey --remote') return this.#migrate()
    if (args === 'secret list --name oncekey --format json') {
      if (this.issuer === undefined) return fails('This Worker does not exist on your account. [code: 10007]')
      return says(Object.keys(this.secrets).map((name) => ({ name, type: 'secret_text' })))
    }
    if (args === 'deployments status --name oncekey --json') {
      return this.issuer === undefined
        ? fails('This Worker does not exist on your account. [code: 10007]')
        : says({ versions: [{ version_id: 'v1', percentage: 100 }] })
    }
    if (args === 'versions view v1 --name oncekey --json') {
      return says({ resources: { bindings: [{ type: 'plain_text', name: 'ISSUER', text: this.issuer }] } })
    }
    if (args.startsWith('deploy')) {
      this.issuer = /--var ISSUER:(\S+)/.exec(args)?.[1] ?? ''
      const [, file] = /--secrets-file (\S+)/.exec(args) ?? []
      if (file) Object.assign(this.secrets, JSON.parse(readFileSync(file, 'utf8')))
      const record = { type: 'deploy', version: 1, targets: this.targets }
      appendFileSync(
        env.WRANGLER_OUTPUT_FILE_PATH ?? '',
        `${JSON.stringify({ type: 'x' })}\n${JSON.stringify(record)}\n`,
      )
      return says('deployed')
    }
    throw new Error(`the stand-in does not know: wrangler ${args}`)
  }

  async #migrate(): Promise<Finished> {
    const { binding } = await this.database()
    const [{ results } = { results: [] }] = await binding.batch([
      binding.prepare("SELECT name FROM sqlite_schema WHERE name = 'environments'"),
    ])
    if (results.length > 0) return { code: 0, stdout: '✅ No migrations to apply!', stderr: '' }
    for (const { queries } of migrations) await binding.batch(queries.map((query) => binding.prepare(query)))
    return { code: 0, stdout: '', stderr: '' }
  }
}

/** Runs as far as it goes. */
async function deploy(account: Account, changes: Partial<Plan> = {}): Promise<Deployed & { said: string[] }> {
  const { steps, deployed } = deployment(account.platform, { ...plan, ...changes })
  const said: string[] = []
  for (const { run } of steps) said.push(await run())
  return { ...deployed(), said }
}

async function madeIn(account: Account) {
  const database = await account.database()
  const environments = await listEnvironments(database)
  const keys = await Promise.all(environments.map(({ id }) => listApiKeys(database, id)))
  return { environments: environments.map(({ name }) => name), keys: keys.flat() }
}

const URL = 'https://oncekey.jane.workers.dev'
const FIRST_CALLS = [
  'whoami --json',
  'd1 list --json',
  'd1 create oncekey',
  'd1 migrations apply oncekey --remote',
  'secret list --name oncekey --format json',
  'deployments status --name oncekey --json',
  'deploy --secrets-file FILE',
  // Once more, with what the first time has told.
  `deploy --var ISSUER:${URL} --secrets-file FILE`,
  `GET ${URL}/readyz`,
]
const LATER_CALLS = [
  'whoami --json',
  'd1 list --json',
  'd1 migrations apply oncekey --remote',
  'secret list --name oncekey --format json',
  'deployments status --name oncekey --json',
  'versions view v1 --name oncekey --json',
  `deploy --var ISSUER:${URL}`,
  `GET ${URL}/readyz`,
]

test('the first run makes everything, and what it shows works', async () => {
  const account = new Account()
  const { url, beginning, said } = await deploy(account)
  expect(account.calls).toEqual(FIRST_CALLS)
  expect(url).toBe(URL)
  expect(account.issuer).toBe(URL)
  expect(JSON.parse(account.secrets.SIGNING_KEY ?? '{}')).toMatchObject({ kty: 'RSA', alg: 'RS256' })
  expect(said).toEqual([
    'You are jane@example.com, in the account Jane’s.',
    'It is made.',
    'They are now.',
    'It is made, and goes along with the Worker.',
    `It is at ${URL}`,
    'It is, with version 1.2.3.',
    'They are made.',
  ])
  const database = await account.database()
  const digest = await sha256(beginning?.apiKey ?? '')
  expect(await findApiKey(database, { digest })).toMatchObject({ access: 'write', revokedAt: null })
  const found = await findApplication(database, { kind: 'api_key', digest }, beginning?.application.id ?? '')
  expect(found).toMatchObject({ granted: { clientId: beginning?.application.clientId, applicationType: 'm2m' } })
  expect((await madeIn(account)).environments).toEqual(['production'])
})

test('a second run migrates, deploys and checks, and makes no second key', async () => {
  const account = new Account()
  await deploy(account)
  const { SIGNING_KEY } = account.secrets
  account.calls.length = 0
  const { url, beginning, said } = await deploy(account)
  expect(account.calls).toEqual(LATER_CALLS)
  expect({ url, beginning }).toEqual({ url: URL, beginning: null })
  expect(said.slice(1)).toEqual([
    'It is there: uuid.',
    'They are.',
    'It has one.',
    `It is at ${URL}`,
    'It is, with version 1.2.3.',
    'It has one.',
  ])
  expect((await madeIn(account)).keys).toHaveLength(1)
  expect(account.secrets).toEqual({ SIGNING_KEY })
})

describe('whatever it stopped at, it says so, and the next run goes on', () => {
  test.each([
    ['whoami', 'Cloudflare does not tell who you are: The platform said no. [code: 10001]'],
    ['d1 list', 'The databases of the account cannot be listed: The platform said no. [code: 10001]'],
    ['d1 create', 'The database could not be made: The platform said no. [code: 10001]'],
    ['d1 migrations', 'The tables could not be brought up to date: The platform said no. [code: 10001]'],
    ['secret', 'Cloudflare does not tell which secrets the Worker has: The platform said no. [code: 10001]'],
    ['deployments', 'Cloudflare does not tell what is deployed: The platform said no. [code: 10001]'],
    ['deploy --secrets', 'The Worker could not be deployed: The platform said no. [code: 10001]'],
    ['deploy --var', 'The Worker could not be deployed: The platform said no. [code: 10001]'],
    ['open', 'broken off'],
  ])('at %s', async (step, words) => {
    const account = new Account()
    account.broken = step
    await expect(deploy(account)).rejects.toThrow(words)
    const { url, beginning } = await deploy(account)
    expect(url).toBe(URL)
    expect(account.issuer).toBe(URL)
    expect(beginning?.apiKey).toMatch(/^sk_0\w{49}$/)
    expect(account.databases).toHaveLength(1)
    expect(await madeIn(account)).toMatchObject({ environments: ['production'], keys: [{ revokedAt: null }] })
  })

  test('at the last statements: a key that nobody has seen is not passed over', async () => {
    const account = new Account()
    const { platform } = account
    const openDatabase: Platform['openDatabase'] = async () => {
      const { database, close } = await platform.openDatabase()
      const binding = withBatch(database.binding, (real, statements) => {
        // Only the example application takes so many.
        if (statements.length > 2) throw new Error('D1_ERROR: Network connection lost.')
        return real(statements)
      })
      return { database: { binding, deadline: database.deadline, waitUntil: database.waitUntil }, close }
    }
    const { steps } = deployment({ ...platform, openDatabase }, plan)
    const all = (async () => {
      for (const { run } of steps) await run()
    })()
    await expect(all).rejects.toThrow('A key may have been made that nobody has seen')
    const [key] = (await madeIn(account)).keys
    await revokeApiKey(await account.database(), key?.id ?? '', Date.now())
    expect((await deploy(account)).beginning?.apiKey).toMatch(/^sk_0/)
  })

  test('at a version that cannot be seen: the address that tokens name is not guessed anew', async () => {
    const account = new Account()
    await deploy(account)
    account.broken = 'versions view'
    account.targets = ['secrets.example.com (custom domain)', ...account.targets]
    await expect(deploy(account)).rejects.toThrow('Cloudflare does not tell what is deployed')
    expect((await deploy(account)).url).toBe(URL)
  })
})

test('no login', async () => {
  const account = new Account()
  account.user = { loggedIn: false }
  await expect(deploy(account)).rejects.toThrow(
    'You are not logged in to Cloudflare. Run `npx wrangler login`, or set CLOUDFLARE_API_TOKEN.',
  )
  expect(account.calls).toEqual(['whoami --json'])
})

test('a new address may take a while; one that stays silent is reported', async () => {
  const account = new Account()
  account.silence = 20
  expect((await deploy(account)).said.at(-2)).toBe('It is, with version 1.2.3.')
  account.silence = Number.POSITIVE_INFINITY
  await expect(deploy(account)).rejects.toThrow(
    `${URL}/readyz is not as it should be after two minutes: getaddrinfo ENOTFOUND.`,
  )
})

test('an older version that still answers is not what was deployed', async () => {
  await expect(deploy(new Account(), { version: '1.2.4' })).rejects.toThrow('version 1.2.3, not 1.2.4')
})

test('a jurisdiction is for a new database, and is never overlooked', async () => {
  const account = new Account()
  await deploy(account, { jurisdiction: 'eu' })
  expect(account.calls).toContain('d1 create oncekey --jurisdiction eu')
  await deploy(account, { jurisdiction: 'eu' })
  await expect(deploy(account, { jurisdiction: 'us' })).rejects.toThrow('its jurisdiction is eu, not us')
  const elsewhere = new Account()
  await deploy(elsewhere, { location: 'weur' })
  expect(elsewhere.calls).toContain('d1 create oncekey --location weur')
  expect((await deploy(elsewhere, { location: 'oc' })).said[1]).toContain('It stays where it is')
  await expect(deploy(elsewhere, { jurisdiction: 'eu' })).rejects.toThrow('its jurisdiction is none, not eu')
})

test('wrangler.toml’s own address, and a custom domain, go before workers.dev', async () => {
  const set = new Account()
  expect((await deploy(set, { issuer: 'https://secrets.example.com' })).url).toBe('https://secrets.example.com')
  expect(set.calls.filter((call) => call.startsWith('deploy '))).toEqual([
    'deploy --var ISSUER:https://secrets.example.com --secrets-file FILE',
  ])
  const custom = new Account()
  custom.targets = ['oncekey.jane.workers.dev', 'secrets.example.com (custom domain)']
  expect((await deploy(custom)).url).toBe('https://secrets.example.com')
  const nowhere = new Account()
  nowhere.targets = ['schedule: * * * * *']
  await expect(deploy(nowhere)).rejects.toThrow('nowhere to be reached')
})

test('where nobody is, no key is made: it would be kept in a log', async () => {
  const account = new Account()
  const { beginning, said } = await deploy(account, { isUnattended: true })
  expect(beginning).toBeNull()
  expect(said.at(-1)).toContain('npm run api-key -- create --remote')
  expect(await madeIn(account)).toEqual({ environments: [], keys: [] })
})

describe('what an earlier start has kept', () => {
  const made = async () => {
    const account = new Account()
    await deploy(account)
    const database = await account.database()
    return { database, kept: await begin(database, 'development') }
  }

  test('is used again, as it is', async () => {
    const { database, kept } = await made()
    expect(await begin(database, 'development', kept)).toEqual(kept)
  })

  test('and was revoked: a new key, and it is kept', async () => {
    const { database, kept } = await made()
    const key = await findApiKey(database, { digest: await sha256(kept.apiKey) })
    await revokeApiKey(database, key?.id ?? '', Date.now())
    let keptNow: unknown
    const now = await begin(database, 'development', kept, async (beginning) => {
      keptNow = beginning
    })
    expect(now.apiKey).not.toBe(kept.apiKey)
    expect(keptNow).toEqual(now)
    expect(await begin(database, 'development', now)).toEqual(now)
  })

  test('and is no key, or another environment’s: a new key', async () => {
    const { database, kept } = await made()
    expect((await begin(database, 'development', { ...kept, apiKey: 'sk_0nonsense' })).apiKey).toMatch(/^sk_0\w{49}$/)
    expect((await begin(database, 'staging', kept)).apiKey).not.toBe(kept.apiKey)
  })

  test('and names an application that was never made: one is made', async () => {
    const { database, kept } = await made()
    const elsewhere = { ...kept, application: { id: 'conn_app_x', clientId: 'client_x' } }
    const now = await begin(database, 'development', elsewhere)
    expect(now.apiKey).toBe(kept.apiKey)
    const digest = await sha256(now.apiKey)
    expect(await findApplication(database, { kind: 'api_key', digest }, now.application.id)).toMatchObject({
      granted: { name: 'Example' },
    })
  })
})
