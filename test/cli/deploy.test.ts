import { readdir } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { type Platform, runSteps } from '../../src/cli/command.ts'
import { deploySteps } from '../../src/cli/deploy-steps.ts'
import { namespaceId } from '../../src/cli/deploy-worker.ts'
import { root } from '../../src/cli/wrangler.ts'
import { sha256 } from '../../src/credential/digest.ts'
import { findApplication } from '../../src/storage/applications.ts'
import { findApiKey, revokeApiKey } from '../../src/storage/operator/api-keys.ts'
import { withBatch } from '../faults/wrapped.ts'
import { applyMigrations } from './databases.ts'
import { customDomain, Deployment, plan, URL } from './deployment.ts'
import { cli, regionsOf, type Surroundings } from './terminal.ts'

/** A deployment that succeeds, and the command around it. What can go wrong: deploy-faults.test.ts. */

const version = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

test('the first deployment creates everything, and prints an API key that works', async () => {
  const deployment = new Deployment()
  const { cloudflare } = deployment
  const { url, bootstrap, said } = await deployment.deploy()
  expect(url).toBe(URL)
  expect(said).toEqual([
    'Logged in as jane@example.com, account Jane’s account.',
    `The URL is ${URL}.`,
    "Created oncekey in WEUR.\n      The location of a database can't be changed later.",
    expect.stringMatching(/^oncekey: applied 0001_management\.sql, 0002_fewer_rows\.sql/),
    'Created. The next step sets it.',
    `Deployed version ${version(3)}.`,
    `Ready, with version ${version(3)}.`,
    'The Worker has no other domain.',
    'Created.',
  ])
  expect(deployment.runs).toEqual(['d1 migrations apply oncekey --remote', 'deploy', 'deploy'])
  expect(JSON.parse(cloudflare.secrets.SIGNING_KEY ?? '{}')).toMatchObject({ kty: 'RSA', alg: 'RS256' })
  expect(new Set(cloudflare.valuesOf('ISSUER'))).toEqual(new Set([URL]))
  const database = await deployment.database()
  const digest = await sha256(bootstrap?.apiKey ?? '')
  expect(await findApiKey(database, { digest })).toMatchObject({ access: 'write', revokedAt: null })
  const found = await findApplication(database, { kind: 'api_key', digest }, bootstrap?.application.id ?? '')
  expect(found).toMatchObject({ granted: { clientId: bootstrap?.application.clientId, applicationType: 'm2m' } })
  expect((await deployment.created()).environments).toEqual(['production'])
})

test('a second deployment deploys a new version, and creates nothing else', async () => {
  const deployment = new Deployment()
  await deployment.deploy()
  const { SIGNING_KEY } = deployment.cloudflare.secrets
  deployment.cloudflare.changes.length = 0
  deployment.runs.length = 0
  const { url, bootstrap, said } = await deployment.deploy()
  expect({ url, bootstrap }).toEqual({ url: URL, bootstrap: null })
  expect(said.slice(2)).toEqual([
    'Found oncekey in WEUR.',
    'oncekey was up to date.',
    'The Worker has one.',
    `Deployed version ${version(4)}.`,
    `Ready, with version ${version(4)}.`,
    'The Worker has no other domain.',
    'They exist.',
  ])
  expect(deployment.runs).toEqual(['deploy'])
  expect(deployment.cloudflare.changes).toEqual([])
  expect((await deployment.created()).keys).toHaveLength(1)
  expect(deployment.cloudflare.secrets).toEqual({ SIGNING_KEY })
})

test('a new Worker has no URL before it has its signing key', async () => {
  const deployment = new Deployment()
  deployment.broken = 'deploy'
  deployment.cloudflare.isReplyLost = true
  await expect(deployment.deploy(customDomain('secrets.example.com'))).rejects.toThrow('Could not deploy the Worker')
  expect(deployment.cloudflare.versions).toHaveLength(1)
  expect(deployment.cloudflare.addresses.enabled).toBe(false)
  expect(deployment.cloudflare.domains).toEqual({})
})

test('the Worker is bound to the database that was checked, and has its own rate-limit namespaces', async () => {
  const deployment = new Deployment()
  await deployment.deploy()
  const { versions, databases } = deployment.cloudflare
  const bindings = versions.at(-1)?.bindings ?? []
  expect(bindings).toContainEqual({ type: 'd1', name: 'DB', id: databases[0]?.described.uuid })
  const namespaces = (name: string) =>
    ['MANAGEMENT_CALLS', 'FAILED_AUTHENTICATIONS'].map((limit) => namespaceId(name, limit))
  expect(bindings.filter(({ type }) => type === 'ratelimit').map(({ text }) => text)).toEqual(namespaces('oncekey'))
  const all = [...namespaces('oncekey'), ...namespaces('oncekey-staging')]
  expect(new Set(all).size).toBe(4)
  for (const id of all) expect(id).toMatch(/^[1-9]\d{3,9}$/)
})

test('before a migration of existing tables, deploy shows how to go back', async () => {
  const deployment = new Deployment()
  const { described } = await deployment.cloudflare.addDatabase('oncekey', 'WEUR')
  await applyMigrations(deployment.cloudflare.databases[0]?.d1 as D1Database, { count: 1 })
  const { said } = await deployment.deploy()
  expect(said.slice(3, 7)).toEqual([
    '      oncekey before the migration: bookmark 00000085-0000024c-00004c6d',
    '      To go back: npx wrangler d1 time-travel restore oncekey --bookmark=00000085-0000024c-00004c6d',
    '      This also undoes every revocation since.',
    expect.stringMatching(/^oncekey: applied 0002_fewer_rows\.sql/),
  ])
  const calls = deployment.cloudflare.calls.filter((call) => call.includes(described.uuid))
  expect(calls.at(-1)).toContain('/time_travel/bookmark')
})

describe('the URL of a deployment', () => {
  test('the URL of a deployment is ISSUER if set, and otherwise the custom domain', async () => {
    const set = new Deployment()
    expect((await set.deploy({ issuer: 'https://secrets.example.com' })).url).toBe('https://secrets.example.com')
    expect(set.cloudflare.valuesOf('ISSUER').at(-1)).toBe('https://secrets.example.com')
    const custom = new Deployment()
    expect((await custom.deploy(customDomain('secrets.example.com'))).url).toBe('https://secrets.example.com')
    expect(custom.cloudflare.addresses).toEqual({ enabled: false, previews_enabled: true })
  })

  test('when a custom domain is added, the workers.dev URL stays the issuer of tokens, and stays enabled', async () => {
    const deployment = new Deployment()
    await deployment.deploy()
    const { url, said } = await deployment.deploy(customDomain('secrets.example.com'))
    expect(url).toBe(URL)
    expect(said.at(-2)).toContain('It stays on, because its URL is the issuer of tokens.')
    expect(deployment.cloudflare.addresses.enabled).toBe(true)
  })

  test('the workers.dev URL is disabled only after the new version answers at the domain', async () => {
    const deployment = new Deployment()
    await deployment.deploy()
    const moved = { ...customDomain('secrets.example.com'), issuer: 'https://secrets.example.com' }
    deployment.cloudflare.answering = 'the old one'
    await expect(deployment.deploy(moved)).rejects.toThrow('is not ready after two minutes')
    expect(deployment.cloudflare.addresses.enabled).toBe(true)
    deployment.cloudflare.answering = undefined
    expect((await deployment.deploy(moved)).said.at(-2)).toBe('Turned off.')
    expect(deployment.cloudflare.addresses).toEqual({ enabled: false, previews_enabled: false })
  })

  test('the workers.dev URL stays enabled if wrangler.toml says so', async () => {
    const deployment = new Deployment()
    const { said } = await deployment.deploy({ ...customDomain('secrets.example.com'), workersDev: true })
    expect(said.at(-2)).toBe('It stays on, as wrangler.toml says.')
    expect(deployment.cloudflare.addresses.enabled).toBe(true)
  })
})

test('if deploy fails after it created an API key, the error says that a key may have been created without being shown', async () => {
  const deployment = new Deployment()
  const { platform } = deployment
  const openRegions: Platform['openRegions'] = async () => {
    const { regions } = await platform.openRegions()
    const { binding } = await regions[0].open()
    return regionsOf(
      withBatch(binding, (real, statements) => {
        // Only the creation of the example application has so many statements.
        if (statements.length > 2) throw new Error('D1_ERROR: D1 DB is overloaded.')
        return real(statements)
      }),
    )
  }
  const context = { platform: { ...platform, openRegions }, progress: () => {} }
  const run = runSteps(context, deploySteps(context, plan).steps, 'npm run deploy')
  await expect(run).rejects.toThrow('An API key may have been created without being shown.')
  const [key] = (await deployment.created()).keys
  await revokeApiKey(await deployment.database(), key?.id ?? '', Date.now())
  expect((await deployment.deploy()).bootstrap?.apiKey).toMatch(/^sk_0/)
})

describe('npm run deploy', () => {
  const run = (deployment: Deployment, words: string[] = [], surroundings: Surroundings = {}) =>
    cli(['deploy', '--location', 'weur', ...words], { platform: deployment.platform, ...surroundings })

  test('deploy prints the first API key once, and the command line to paste does not contain it', async () => {
    const { code, stdout, stderr } = await run(new Deployment())
    const [key = ''] = /sk_0\w{49}/.exec(stdout) ?? []
    expect(stdout.split(key)).toHaveLength(2)
    expect(stdout).toContain('read -rs API_KEY')
    expect(stdout).toMatch(/^ {2}curl -X POST https:\S+\/client_secrets -H "Authorization: Bearer \$API_KEY"$/m)
    expect(stderr).not.toContain(key)
    expect(code).toBe(0)
  })

  test('deploy with --json prints one line, with or without a new key', async () => {
    const deployment = new Deployment()
    const { json } = await run(deployment, ['--json'])
    expect(json).toEqual({
      url: URL,
      api_key: expect.stringMatching(/^sk_0\w{49}$/),
      application: { id: expect.any(String), client_id: expect.any(String) },
    })
    expect((await run(deployment, ['--json'])).json).toEqual({ url: URL })
  })

  test.each<[string, Surroundings, string]>([
    ['CI keeps the output in a log', { env: { CI: 'true' } }, 'the output of CI is kept in a log'],
    ['stdout is closed', { hasReader: false }, 'standard output is closed or /dev/null'],
  ])('deploy creates no API key if %s, and prints the command that creates one', async (_, surroundings, reason) => {
    const deployment = new Deployment()
    const { stderr, stdout, code } = await run(deployment, ['--environment', 'my prod'], surroundings)
    expect(stderr).toContain(`No API key was created, because ${reason}.`)
    const [, command = ''] = /Create one on your machine: npm run (.*)/.exec(stderr) ?? []
    expect(command).toBe("api-key -- create --remote --environment 'my prod' --name first --access write")
    expect(stdout).toBe(`\n  Oncekey         ${URL}\n\n`)
    expect(code).toBe(0)
    expect(await deployment.created()).toEqual({ environments: ['my prod'], keys: [] })
    const words = ['api-key', 'create', '--remote', '--environment', 'my prod', '--name', 'first', '--access', 'write']
    expect((await cli(words, { platform: deployment.platform })).stdout).toMatch(/^sk_0\w{49}\n$/)
  })

  test('deploy revokes the first API key if it cannot be printed', async () => {
    const deployment = new Deployment()
    const write = async () => {
      throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
    }
    const { code, stderr } = await run(deployment, [], { write })
    expect(stderr).toContain(
      'The first API key could not be written to standard output (ENOSPC). It was revoked, because it was not shown.',
    )
    expect(code).toBe(1)
    expect((await deployment.created()).keys).toMatchObject([{ revokedAt: expect.any(Number) }])
  })

  test('deploy deletes its temporary configuration file', async () => {
    const deployment = new Deployment()
    await run(deployment)
    expect((await readdir(root)).filter((name) => name.startsWith('.deploy-'))).toEqual([])
  })
})
