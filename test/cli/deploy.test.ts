import { appendFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { type Platform, runSteps } from '../../src/cli/command.ts'
import { type DeployPlan, deploySteps } from '../../src/cli/deploy-steps.ts'
import { operatorDatabase } from '../../src/cli/local-database.ts'
import type { Finished } from '../../src/cli/wrangler.ts'
import { sha256 } from '../../src/credential/digest.ts'
import { findApplication } from '../../src/storage/applications.ts'
import type { Database } from '../../src/storage/database.ts'
import { findApiKey, listApiKeys, revokeApiKey } from '../../src/storage/operator/api-keys.ts'
import { listEnvironments } from '../../src/storage/operator/environments.ts'
import { withBatch } from '../faults/wrapped.ts'
import { applyMigrations, emptyDatabase } from './databases.ts'
import { cli, regionsOf, type Surroundings } from './terminal.ts'

/** Every run of `npm run deploy`, against a stand-in for the platform's answers, and a real D1. */

const plan: DeployPlan = {
  name: 'oncekey',
  databaseName: 'oncekey',
  issuer: '',
  location: undefined,
  jurisdiction: undefined,
  environment: 'production',
  unattended: null,
}

/** An account, as wrangler describes and changes it. */
class Account {
  readonly calls: string[] = []
  readonly databases: { uuid: string; name: string; jurisdiction?: string }[] = []
  /** ISSUER of the deployed version; undefined while there is no Worker. */
  issuer: string | undefined
  /** How many versions were made. */
  versions = 0
  /** The Worker's secrets. */
  secrets: Record<string, string> = {}
  targets = ['oncekey.jane.workers.dev', 'schedule: * * * * *']
  user: object = { loggedIn: true, email: 'jane@example.com', accounts: [{ id: 'a', name: 'Jane’s' }] }
  /** The call that fails, once: arguments of wrangler, a request, or the opening of the database. */
  broken: string | null = null
  /** The version that answers requests, if it is not the newest. */
  answering: string | undefined
  /** How many requests fail before one is answered. */
  silence = 0
  #database: Database | undefined

  async database(): Promise<Database> {
    this.#database ??= operatorDatabase(await emptyDatabase())
    return this.#database
  }

  get platform(): Platform {
    return {
      wrangler: (args, options) => this.#wrangler(args.join(' '), options),
      openRegions: async () => {
        this.#breakAt('open')
        return regionsOf((await this.database()).binding)
      },
      fetch: async (url) => {
        this.calls.push(`GET ${url}`)
        this.#breakAt('GET')
        if (this.silence-- > 0) throw new TypeError('fetch failed', { cause: new Error('getaddrinfo ENOTFOUND') })
        return Response.json({ status: 'ok', version_id: this.answering ?? `v${this.versions}` })
      },
      sleep: async () => {},
      now: () => Date.now(),
    }
  }

  #breakAt(words: string): void {
    if (!this.broken || !words.startsWith(this.broken)) return
    this.broken = null
    throw new Error('broken off')
  }

  async #wrangler(args: string, { env = {}, input = '' }: Parameters<Platform['wrangler']>[1] = {}): Promise<Finished> {
    this.calls.push(args)
    if (this.broken && isCall(args, this.broken)) {
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
        : says({ versions: [{ version_id: `v${this.versions}`, percentage: 100 }] })
    }
    if (args === `versions view v${this.versions} --name oncekey --json`) {
      return says({ resources: { bindings: [{ type: 'plain_text', name: 'ISSUER', text: this.issuer }] } })
    }
    if (args.startsWith('deploy')) {
      this.issuer = /--var ISSUER:(\S+)/.exec(args)?.[1] ?? ''
      const record = { type: 'deploy', version: 1, version_id: `v${++this.versions}`, targets: this.targets }
      appendFileSync(
        env.WRANGLER_OUTPUT_FILE_PATH ?? '',
        `${JSON.stringify({ type: 'x' })}\n${JSON.stringify(record)}\n`,
      )
      return says('deployed')
    }
    if (args === 'secret bulk --name oncekey') {
      Object.assign(this.secrets, JSON.parse(input))
      this.versions++
      return says(Object.keys(JSON.parse(input)))
    }
    throw new Error(`the stand-in does not know: wrangler ${args}`)
  }

  async #migrate(): Promise<Finished> {
    const { binding } = await this.database()
    const [{ results } = { results: [] }] = await binding.batch([
      binding.prepare("SELECT name FROM sqlite_schema WHERE name = 'environments'"),
    ])
    if (results.length > 0) return { code: 0, stdout: '✅ No migrations to apply!', stderr: '' }
    await applyMigrations(binding)
    return { code: 0, stdout: '', stderr: '' }
  }
}

/** `deploy` is the upload without variables, and no other call. */
function isCall(args: string, call: string): boolean {
  return call === 'deploy' ? args === call : args.startsWith(call)
}

/** Runs as far as it goes. */
async function deploy(account: Account, changes: Partial<DeployPlan> = {}) {
  const said: string[] = []
  const progress = (line: string) => void said.push(line)
  const { steps, deployed } = deploySteps({ platform: account.platform, progress }, { ...plan, ...changes })
  for (const { run } of steps) said.push(await run())
  return { ...deployed(), said }
}

async function createdIn(account: Account) {
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
  'deploy',
  'secret bulk --name oncekey',
  // Once more, with the address of the first time.
  `deploy --var ISSUER:${URL}`,
  `GET ${URL}/readyz`,
]
const LATER_CALLS = [
  'whoami --json',
  'd1 list --json',
  'd1 migrations apply oncekey --remote',
  'secret list --name oncekey --format json',
  'deployments status --name oncekey --json',
  'versions view v3 --name oncekey --json',
  `deploy --var ISSUER:${URL}`,
  `GET ${URL}/readyz`,
]

test('the first run creates everything, and the key that it shows works', async () => {
  const account = new Account()
  const { url, bootstrap, said } = await deploy(account)
  expect(account.calls).toEqual(FIRST_CALLS)
  expect(url).toBe(URL)
  expect(account.issuer).toBe(URL)
  expect(JSON.parse(account.secrets.SIGNING_KEY ?? '{}')).toMatchObject({ kty: 'RSA', alg: 'RS256' })
  expect(said).toEqual([
    'Logged in as jane@example.com, account Jane’s.',
    'Created.',
    'Done.',
    'Created. The next step sets it.',
    `Deployed at ${URL}`,
    'Ready, with version v3.',
    'Created.',
  ])
  const database = await account.database()
  const digest = await sha256(bootstrap?.apiKey ?? '')
  expect(await findApiKey(database, { digest })).toMatchObject({ access: 'write', revokedAt: null })
  const found = await findApplication(database, { kind: 'api_key', digest }, bootstrap?.application.id ?? '')
  expect(found).toMatchObject({ granted: { clientId: bootstrap?.application.clientId, applicationType: 'm2m' } })
  expect((await createdIn(account)).environments).toEqual(['production'])
})

test('a second run migrates, deploys and checks, and creates no second key', async () => {
  const account = new Account()
  await deploy(account)
  const { SIGNING_KEY } = account.secrets
  account.calls.length = 0
  const { url, bootstrap, said } = await deploy(account)
  expect(account.calls).toEqual(LATER_CALLS)
  expect({ url, bootstrap }).toEqual({ url: URL, bootstrap: null })
  expect(said.slice(1)).toEqual([
    'Found: uuid.',
    'They were up to date.',
    'It has one.',
    `Deployed at ${URL}`,
    'Ready, with version v4.',
    'It has one.',
  ])
  expect((await createdIn(account)).keys).toHaveLength(1)
  expect(account.secrets).toEqual({ SIGNING_KEY })
})

describe('a deployment that fails at a step says so, and the next run completes it', () => {
  test.each([
    ['whoami', 'Could not read the Cloudflare login: The platform said no. [code: 10001]'],
    ['d1 list', 'Could not list the databases of the account: The platform said no. [code: 10001]'],
    ['d1 create', 'Could not create the database: The platform said no. [code: 10001]'],
    ['d1 migrations', 'Could not bring the tables up to date: The platform said no. [code: 10001]'],
    ['secret list', 'Could not read which secrets the Worker has: The platform said no. [code: 10001]'],
    ['deployments', 'Could not read what is deployed: The platform said no. [code: 10001]'],
    ['deploy', 'Could not deploy the Worker: The platform said no. [code: 10001]'],
    ['secret bulk', 'Could not set the secrets of the Worker: The platform said no. [code: 10001]'],
    ['deploy --var', 'Could not deploy the Worker: The platform said no. [code: 10001]'],
    ['open', 'broken off'],
  ])('at %s', async (step, words) => {
    const account = new Account()
    account.broken = step
    await expect(deploy(account)).rejects.toThrow(words)
    const { url, bootstrap } = await deploy(account)
    expect(url).toBe(URL)
    expect(account.issuer).toBe(URL)
    expect(bootstrap?.apiKey).toMatch(/^sk_0\w{49}$/)
    expect(account.databases).toHaveLength(1)
    expect(await createdIn(account)).toMatchObject({ environments: ['production'], keys: [{ revokedAt: null }] })
  })

  test('an API key that may have been created without being shown is mentioned', async () => {
    const account = new Account()
    const { platform } = account
    const openRegions: Platform['openRegions'] = async () => {
      const { regions } = await platform.openRegions()
      const database = await regions[0].open()
      const binding = withBatch(database.binding, (real, statements) => {
        // Only the example application takes so many.
        if (statements.length > 2) throw new Error('D1_ERROR: Network connection lost.')
        return real(statements)
      })
      return regionsOf(binding)
    }
    const context = { platform: { ...platform, openRegions }, progress: () => {} }
    const run = runSteps(context, deploySteps(context, plan).steps, 'npm run deploy')
    await expect(run).rejects.toThrow('An API key may have been created without being shown.')
    const [key] = (await createdIn(account)).keys
    await revokeApiKey(await account.database(), key?.id ?? '', Date.now())
    expect((await deploy(account)).bootstrap?.apiKey).toMatch(/^sk_0/)
  })

  test('when the deployed version cannot be read, the issuer of tokens is not guessed', async () => {
    const account = new Account()
    await deploy(account)
    account.broken = 'versions view'
    account.targets = ['secrets.example.com (custom domain)', ...account.targets]
    await expect(deploy(account)).rejects.toThrow('Could not read what is deployed')
    expect((await deploy(account)).url).toBe(URL)
  })
})

test('without a login, the first step says how to log in', async () => {
  const account = new Account()
  account.user = { loggedIn: false }
  await expect(deploy(account)).rejects.toThrow(
    'You are not logged in to Cloudflare. Run `npx wrangler login`, or set CLOUDFLARE_API_TOKEN.',
  )
  expect(account.calls).toEqual(['whoami --json'])
})

test('a new address may take a while, with progress every 20 seconds; one that stays silent is reported', async () => {
  const account = new Account()
  account.silence = 25
  const { said } = await deploy(account)
  expect(said.filter((line) => line.includes('Not ready'))).toEqual([
    '      Not ready after 20 s: getaddrinfo ENOTFOUND.',
    '      Not ready after 40 s: getaddrinfo ENOTFOUND.',
  ])
  expect(said.at(-2)).toBe('Ready, with version v3.')
  account.silence = Number.POSITIVE_INFINITY
  await expect(deploy(account)).rejects.toThrow(
    `The Worker was deployed, and ${URL}/readyz is not ready after two minutes: getaddrinfo ENOTFOUND.`,
  )
})

test('an older version that still answers is not taken for the deployed one', async () => {
  const account = new Account()
  account.answering = 'v0'
  await expect(deploy(account)).rejects.toThrow('version v0 answers, not v3')
  account.answering = undefined
  expect((await deploy(account)).said.at(-2)).toBe('Ready, with version v4.')
})

test('a jurisdiction applies to a new database, and is checked against an existing one', async () => {
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

test('the ISSUER of wrangler.toml, and then a custom domain, go before workers.dev', async () => {
  const set = new Account()
  expect((await deploy(set, { issuer: 'https://secrets.example.com' })).url).toBe('https://secrets.example.com')
  expect(set.calls.filter((call) => call.startsWith('deploy '))).toEqual(
    Array(2).fill('deploy --var ISSUER:https://secrets.example.com'),
  )
  const custom = new Account()
  custom.targets = ['oncekey.jane.workers.dev', 'secrets.example.com (custom domain)']
  expect((await deploy(custom)).url).toBe('https://secrets.example.com')
  const nowhere = new Account()
  nowhere.targets = ['schedule: * * * * *']
  await expect(deploy(nowhere)).rejects.toThrow('The Worker was deployed without a route.')
})

test('the signing key goes through a pipe: it is in no argument and in no file', async () => {
  const account = new Account()
  await deploy(account)
  expect(account.calls.join()).not.toContain('"d":')
  expect(account.calls.join()).not.toMatch(/secrets-file/)
  expect(account.secrets.SIGNING_KEY).toContain('"d":')
})

describe('npm run deploy', () => {
  const run = (account: Account, words: string[] = [], surroundings: Surroundings = {}) => {
    return cli(['deploy', ...words], { platform: account.platform, ...surroundings })
  }

  test('shows the first API key once, and keeps it out of the command line to paste', async () => {
    const { code, stdout, stderr } = await run(new Account())
    const [key = ''] = /sk_0\w{49}/.exec(stdout) ?? []
    expect(stdout.split(key)).toHaveLength(2)
    expect(stdout).toContain('read -rs API_KEY')
    expect(stdout).toMatch(/^ {2}curl -X POST https:\S+\/client_secrets -H "Authorization: Bearer \$API_KEY"$/m)
    expect(stderr).not.toContain(key)
    expect(code).toBe(0)
  })

  test('with --json prints one line, with or without a new key', async () => {
    const account = new Account()
    const { json } = await run(account, ['--json'])
    expect(json).toEqual({
      url: URL,
      api_key: expect.stringMatching(/^sk_0\w{49}$/),
      application: { id: expect.any(String), client_id: expect.any(String) },
    })
    expect((await run(account, ['--json'])).json).toEqual({ url: URL })
  })

  test.each<[string, Surroundings, string]>([
    ['CI keeps the output in a log', { env: { CI: 'true' } }, 'the output of CI is kept in a log'],
    ['stdout is closed', { hasReader: false }, 'standard output is closed or /dev/null'],
  ])('creates no API key when %s, and says what to do', async (_, surroundings, reason) => {
    const account = new Account()
    const { stderr, stdout, code } = await run(account, ['--environment', 'my prod'], surroundings)
    expect(stderr).toContain(`Not created, because ${reason}.`)
    expect(stderr).toContain(`npm run environment -- create --remote --name 'my prod'`)
    expect(stdout).toBe(`\n  Oncekey         ${URL}\n\n`)
    expect(code).toBe(0)
    expect(await createdIn(account)).toEqual({ environments: [], keys: [] })
  })

  test('revokes the key that could not be printed', async () => {
    const account = new Account()
    const write = async () => {
      throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
    }
    const { code, stderr } = await run(account, [], { write })
    expect(stderr).toContain(
      'The first API key could not be written to standard output (ENOSPC). It was revoked, because it was not shown.',
    )
    expect(code).toBe(1)
    expect((await createdIn(account)).keys).toMatchObject([{ revokedAt: expect.any(Number) }])
  })

  test('names a failed step, and the command that continues', async () => {
    const account = new Account()
    account.broken = 'd1 create'
    const { code, stderr, stdout } = await run(account)
    expect(stderr).toMatch(
      /\nCould not create the database: .*\nRun `npm run deploy` again: it continues from this step\.\n$/,
    )
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  })
})
