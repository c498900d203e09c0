import { createServer } from 'node:http'
import { beforeEach, describe, expect, test } from 'vitest'
import type { OperatorRegion } from '../../src/cli/command.ts'
import { operatorDatabase } from '../../src/cli/local-database.ts'
import { deployedRegions } from '../../src/cli/operator-database.ts'
import { requireOwnEnvironments } from '../../src/cli/regions.ts'
import { recogniseCredential } from '../../src/credential/credential.ts'
import { sha256 } from '../../src/credential/digest.ts'
import { findApiKey } from '../../src/storage/operator/api-keys.ts'
import { createEnvironment } from '../../src/storage/operator/environments.ts'
import { counted, withBatch } from '../faults/wrapped.ts'
import { emptyDatabase, newDatabase } from './databases.ts'
import { newFolder } from './folder.ts'
import { cli } from './terminal.ts'

/** The operator's commands over regions 0 (DB) and 1 (DB_1), each with a real D1. */

let databases: [D1Database, D1Database]

beforeEach(async () => {
  databases = [await newDatabase(), await newDatabase()]
})

const command = (...words: string[]) => cli([...words, '--json'], { databases })
const text = (...words: string[]) => cli(words, { databases })

/** An environment in each region: `here` in the first one, `there` in the second one. */
async function twoEnvironments() {
  const here = (await command('environment', 'create', '--name', 'here')).json
  const there = (await command('environment', 'create', '--name', 'there', '--region', '1')).json
  return { here, there }
}

const newKey = async (environment: string) =>
  (await command('api-key', 'create', '--environment', environment, '--name', 'k', '--access', 'write')).json

const newEndpoint = async (environment: string, url = 'https://example.com/') =>
  (await command('webhook', 'create', '--environment', environment, '--url', url)).json

test('an environment is created in the first region, or in the region of --region, which can be a digit or a binding', async () => {
  const { here, there } = await twoEnvironments()
  const bound = (await command('environment', 'create', '--name', 'bound', '--region', 'DB_1')).json
  expect([here.region, there.region, bound.region]).toEqual(['0', '1', '1'])
  for (const [{ id, client_id }, digit] of [
    [here, '0'],
    [there, '1'],
    [bound, '1'],
  ] as const) {
    expect(id).toMatch(new RegExp(`^env_\\w{10}${digit}\\w{15}$`))
    expect(client_id).toMatch(new RegExp(`^client_\\w{10}${digit}\\w{15}$`))
  }
  expect((await command('environment', 'list')).json).toMatchObject([
    { name: 'here', region: '0' },
    { name: 'there', region: '1' },
    { name: 'bound', region: '1' },
  ])
  const { stdout } = await text('environment', 'list')
  expect(stdout).toMatch(/^NAME .* REGION\nhere .* 0 \(DB\)\nthere .* 1 \(DB_1\)\nbound .* 1 \(DB_1\)\n$/)
})

test('an unknown region is a usage error that lists the regions', async () => {
  const { code, stderr } = await command('environment', 'create', '--name', 'x', '--region', '2')
  expect(stderr).toContain('--region must be one of 0 (DB), 1 (DB_1).')
  expect(code).toBe(2)
})

test('an environment name that one region has cannot be used in another region', async () => {
  await twoEnvironments()
  for (const region of ['0', '1']) {
    const { code, stderr } = await command('environment', 'create', '--name', 'THERE', '--region', region)
    expect(stderr).toContain('Environment there has a name like THERE: env_')
    expect(code).toBe(1)
  }
})

test('an API key is created in the region of its environment, and contains the region digit', async () => {
  const { here, there } = await twoEnvironments()
  for (const [name, region, i] of [
    ['here', '0', 0],
    ['there', '1', 1],
    [there.id, '1', 1],
    [here.id, '0', 0],
  ] as const) {
    const { id, api_key: apiKey } = await newKey(name)
    expect(recogniseCredential(apiKey)).toEqual({ prefix: 'sk', region })
    expect(id).toMatch(new RegExp(`^api_key_\\w{10}${region}`))
    const by = { digest: await sha256(apiKey) }
    expect(await findApiKey(operatorDatabase(databases[i]), by)).toMatchObject({ id })
    expect(await findApiKey(operatorDatabase(databases[1 - i] as D1Database), by)).toBeNull()
  }
  expect((await command('api-key', 'list')).json.map((key: { region: string }) => key.region)).toEqual([
    ...['0', '0', '1', '1'],
  ])
  expect((await command('api-key', 'list', '--environment', 'there')).json).toHaveLength(2)
  expect((await text('api-key', 'list')).stdout).toMatch(
    /^ENVIRONMENT .* REGION\n(.* 0 \(DB\)\n){2}(.* 1 \(DB_1\)\n){2}$/,
  )
})

test('revoking an API key by its ID makes no D1 request to another region', async () => {
  await twoEnvironments()
  const { id } = await newKey('there')
  const others = counted(databases[0])
  const { json } = await cli(['api-key', 'revoke', id, '--json'], { databases: [others.database, databases[1]] })
  expect(json).toMatchObject({ id, environment: 'there', region: '1', revoked_at: expect.any(String) })
  expect(others.trips).toBe(0)
})

test('an ID of an unknown region is not found, without a D1 request', async () => {
  const counters = databases.map((database) => counted(database))
  for (const words of [
    ['api-key', 'revoke', 'api_key_01KBZWFVD07ABCDEFGHJKMNPQR'],
    ['webhook', 'delete', 'we_01KBZWFVD07ABCDEFGHJKMNPQR'],
  ]) {
    const { code, stderr } = await cli(words, { databases: counters.map(({ database }) => database) })
    expect(stderr).toMatch(/not found\. Nothing was changed\./)
    expect(code).toBe(1)
  }
  expect(counters.map(({ trips }) => trips)).toEqual([0, 0])
})

test('testing, reviving and deleting a webhook endpoint makes no D1 request to another region', async () => {
  await twoEnvironments()
  const receiver = createServer((_, response) => response.end()).listen(0, '127.0.0.1')
  await new Promise((resolve) => receiver.once('listening', resolve))
  const { port } = receiver.address() as { port: number }
  const { id, secret } = await newEndpoint('there', `http://127.0.0.1:${port}/`)
  await newEndpoint('here')
  expect(recogniseCredential(secret)).toEqual({ prefix: 'whsec', region: '1' })
  const list = (await command('webhook', 'list')).json
  expect(list.map((endpoint: { region: string }) => endpoint.region)).toEqual(['0', '1'])
  const others = counted(databases[0])
  const only = (...words: string[]) => cli([...words, '--json'], { databases: [others.database, databases[1]] })
  expect((await only('webhook', 'test', id)).json).toEqual({ id, status: 200 })
  expect((await only('webhook', 'revive', id)).json).toEqual({ id, revived: 0 })
  expect((await only('webhook', 'delete', id)).json).toEqual({ id })
  expect(others.trips).toBe(0)
  receiver.close()
})

test('a rotation of the signing key records an event in each environment of each region', async () => {
  await twoEnvironments()
  await command('environment', 'create', '--name', 'third', '--region', '1')
  const persist = ['--persist-to', await newFolder()]
  await cli(['signing-key', 'create', ...persist])
  expect((await cli(['signing-key', 'rotate', ...persist], { databases })).stderr).not.toContain('no event')
  const counts = databases.map((database) =>
    database.prepare("SELECT count(*) AS n FROM events WHERE type = 'signing_key.rotated'").first('n'),
  )
  expect(await Promise.all(counts)).toEqual([1, 2])
})

describe('a region that does not respond', () => {
  beforeEach(async () => {
    await twoEnvironments()
    const broken = withBatch(databases[1], () => Promise.reject(new Error('D1_ERROR: the region is down')))
    databases = [databases[0], broken]
  })

  test.each(['environment', 'api-key', 'webhook'])(
    'while a region is down, %s list shows the rows of the other regions, and ends with exit code 1',
    async (group) => {
      await newKey('here')
      await newEndpoint('here')
      const { code, stdout, stderr } = await text(group, 'list')
      expect(stdout).toContain('here')
      expect(stderr).toContain('Region 1 (DB_1): D1_ERROR: the region is down.')
      expect(code).toBe(1)
    },
  )

  test('while a region is down, API keys of the other region can be created and revoked', async () => {
    const { id } = await newKey('here')
    expect((await command('api-key', 'revoke', id)).json).toMatchObject({ id, region: '0' })
    expect((await command('api-key', 'revoke', '--environment', 'here', '--name', 'k')).code).toBe(0)
  })

  test('while a region is down, the error for an unknown environment says that not all regions responded', async () => {
    const words = ['api-key', 'create', '--environment', 'there', '--name', 'k', '--access', 'read']
    const { code, stderr } = await command(...words)
    expect(stderr).toContain(
      'Environment there was not found in the regions that responded. Nothing was changed. Try again when all regions respond.\n',
    )
    expect(stderr).toContain('Region 1 (DB_1): D1_ERROR: the region is down.')
    expect(code).toBe(1)
  })

  test('while a region is down, no environment is created, because that region may have the name', async () => {
    const { code, stderr } = await command('environment', 'create', '--name', 'x')
    expect(stderr).toContain(
      'Region 1 (DB_1): D1_ERROR: the region is down.\nThe name may already exist in a region that did not respond. Nothing was changed. Try again when all regions respond.',
    )
    expect(code).toBe(1)
  })

  test('while a region is down, a rotation records its event in the other regions, and names the failed region', async () => {
    const persist = ['--persist-to', await newFolder()]
    await cli(['signing-key', 'create', ...persist])
    const { code, stderr } = await cli(['signing-key', 'rotate', ...persist], { databases })
    expect(stderr).toContain('The key was replaced, but not every event was recorded: Region 1 (DB_1):')
    expect(code).toBe(0)
    const events = databases[0].prepare("SELECT count(*) AS n FROM events WHERE type = 'signing_key.rotated'")
    expect(await events.first('n')).toBe(1)
  })
})

test('two environments with the same name can only be chosen by their IDs', async () => {
  await twoEnvironments()
  const database = operatorDatabase(databases[1])
  const id = 'env_01KBZWFVD01ABCDEFGHJKMNPQR'
  await createEnvironment(database, { id, clientId: 'client_x', name: 'here', createdAt: 1 })
  const words = ['api-key', 'create', '--name', 'k', '--access', 'read', '--environment']
  const { code, stderr } = await command(...words, 'here')
  expect(stderr).toContain(`and ${id}. Nothing was changed. Give the ID.`)
  expect(code).toBe(1)
  expect(recogniseCredential((await command(...words, id)).json.api_key)?.region).toBe('1')
})

test('a database is refused if REGIONS gives it another digit than its environments have', async () => {
  const { there } = await twoEnvironments()
  const database = operatorDatabase(databases[1])
  await requireOwnEnvironments(database, { digit: '1', binding: 'DB_1' })
  await expect(requireOwnEnvironments(database, { digit: '2', binding: 'DB_1' })).rejects.toThrow(
    `REGIONS gives the database DB_1 the digit 2, but the database has environments of another region: there (${there.id}). Nothing was changed.`,
  )
})

describe('the regions of a deployment', () => {
  const configured = [
    { digit: '0', binding: 'DB', databaseName: 'oncekey', localId: 'DB' },
    { digit: '1', binding: 'DB_1', databaseName: 'oncekey-1', localId: 'DB_1' },
  ]
  /** Runs `environment list` over these regions. */
  const listed = async (env: Record<string, D1Database>) => {
    const [first, ...others] = deployedRegions(configured, env)
    const open = { regions: [first as OperatorRegion, ...others] as const, close: async () => {} }
    return cli(['environment', 'list', '--remote', '--json'], { platform: { openRegions: async () => open } })
  }

  test.each<[string, () => Promise<D1Database | undefined>, string]>([
    [
      'is missing',
      async () => undefined,
      'The account has no database oncekey-1. Nothing was changed. `npm run deploy`',
    ],
    ['has no tables', emptyDatabase, 'The deployed database is from an older version of Oncekey. Nothing was changed.'],
    [
      'has newer tables',
      async () => {
        await databases[1].prepare('UPDATE schema_version SET version = 1000').run()
        return databases[1]
      },
      'The deployed database is from a newer version of Oncekey. Nothing was changed.',
    ],
    [
      'does not respond',
      async () => withBatch(databases[1], () => Promise.reject(new Error('D1_ERROR: away'))),
      'Could not reach the deployed database: D1_ERROR: away. Nothing was changed.',
    ],
  ])('commands list the rows of the other regions if the database of one region %s', async (_, second, words) => {
    await command('environment', 'create', '--name', 'here')
    const DB_1 = await second()
    const { code, stdout, stderr } = await listed({ DB: databases[0], ...(DB_1 && { DB_1 }) })
    expect(JSON.parse(stdout)).toMatchObject([{ name: 'here', region: '0' }])
    expect(stderr).toContain(`Region 1 (DB_1): ${words}`)
    expect(code).toBe(1)
  })

  test('each region of a deployment is opened only when it is used, and only once', async () => {
    const counters = databases.map((database) => counted(database))
    const [, second] = deployedRegions(configured, { DB: counters[0]?.database, DB_1: counters[1]?.database } as never)
    expect(await second?.open()).toBe(await second?.open())
    expect(counters.map(({ trips }) => trips)).toEqual([0, 2])
  })
})
