import { beforeAll, describe, expect, test } from 'vitest'
import { operatorDatabase } from '../../src/cli/local-database.ts'
import { sha256 } from '../../src/credential/digest.ts'
import { findApiKey } from '../../src/storage/operator/api-keys.ts'
import { newDatabase } from './databases.ts'
import { cli, regionsOf, type Surroundings } from './terminal.ts'

let database: D1Database

beforeAll(async () => {
  database = await newDatabase()
  for (const name of ['staging', 'production']) await cli(['environment', 'create', '--name', name], { database })
})

const apiKey = (words: string[], surroundings: Surroundings = {}) =>
  cli(['api-key', ...words], { database, ...surroundings })
const create = (name: string, ...words: string[]) =>
  apiKey(['create', '--environment', 'staging', '--name', name, '--access', 'write', ...words])

test('api-key create prints only the key on stdout, or one line of JSON', async () => {
  const { stdout, stderr } = await create('plain')
  expect(stdout).toMatch(/^sk_0\w{49}\n$/)
  expect(stderr).toMatch(/^API key api_key_\w{26} can read and write in staging\. The key is not shown again\.$/m)
  expect(stderr).not.toContain(stdout.trim())
  const { json } = await create('json', '--json')
  expect(json).toEqual({
    id: expect.stringMatching(/^api_key_\w{26}$/),
    api_key: expect.stringMatching(/^sk_0\w{49}$/),
  })
  const found = await findApiKey(operatorDatabase(database), { digest: await sha256(json.api_key) })
  expect(found).toMatchObject({ id: json.id, access: 'write', revokedAt: null })
})

test('api-key list shows each API key without the key itself', async () => {
  const { json } = await create('listed', '--json')
  const { stdout } = await apiKey(['list', '--environment', 'staging'])
  expect(stdout).toMatch(/^ENVIRONMENT +NAME +ACCESS +ID +LAST USED +EXPIRES +ALLOWED IPS +REVOKED$/m)
  expect(stdout).toMatch(new RegExp(`^staging +listed +write +${json.id} +never +never +all +-$`, 'm'))
  expect(stdout).not.toContain(json.api_key)
  const all = await apiKey(['list', '--json'])
  expect(all.json).toContainEqual({
    id: json.id,
    environment: 'staging',
    name: 'listed',
    access: 'write',
    permissions: null,
    allowed_ips: null,
    created_at: expect.stringMatching(/Z$/),
    expires_at: null,
    last_used_at: null,
    revoked_at: null,
  })
  expect((await apiKey(['list', '--environment', 'production'])).stdout).toBe(
    'No API keys yet: npm run api-key -- create --help\n',
  )
})

test('an API key can be created with permissions, an expiry and IP ranges', async () => {
  const words = ['create', '--environment', 'staging', '--name', 'narrow', '--json']
  const limits = ['--permission', 'secrets:verify,events:read', '--expires-in', '90d']
  const ranges = ['--allow-ip', '203.0.113.0/24,2001:DB8::/32,203.0.113.0/24']
  const before = Date.now()
  const { json } = await apiKey([...words, ...limits, ...ranges])
  const all = await apiKey(['list', '--json'])
  const listed = all.json.find(({ id }: { id: string }) => id === json.id)
  expect(listed).toMatchObject({
    access: 'read',
    permissions: ['secrets:verify', 'events:read'],
    allowed_ips: ['203.0.113.0/24', '2001:db8::/32'],
  })
  const lifetime = Date.parse(listed.expires_at) - before
  expect(Math.round(lifetime / 60_000)).toBe(90 * 24 * 60)
  const { stdout } = await apiKey(['list'])
  expect(stdout).toMatch(
    /narrow +secrets:verify,events:read +api_key_\w+ +never +\d{4}-\S+Z +203\.0\.113\.0\/24,2001:db8::\/32 +-$/m,
  )
})

test.each([
  ['no access and no permission', [], '--access'],
  ['both an access and a permission', ['--access', 'read', '--permission', 'events:read'], '--access'],
  ['an unknown permission', ['--permission', 'secrets:admin'], 'secrets:admin'],
  ['a lifetime in an unknown unit', ['--access', 'read', '--expires-in', '90m'], '--expires-in'],
  ['a lifetime of no days', ['--access', 'read', '--expires-in', '0d'], '--expires-in'],
  ['a lifetime of more than ten years', ['--access', 'read', '--expires-in', '3651d'], '--expires-in'],
  ['a malformed range', ['--access', 'read', '--allow-ip', '203.0.113'], '--allow-ip'],
  ['a range with bits after its prefix', ['--access', 'read', '--allow-ip', '203.0.113.1/24'], '--allow-ip'],
])('an API key is not created with %s', async (_, words, text) => {
  const { code, stderr, stdout } = await apiKey(['create', '--environment', 'staging', '--name', 'x', ...words])
  expect([code, stdout]).toEqual([2, ''])
  expect(stderr).toContain(text)
})

test('an API key can be renamed until it is revoked, and each change of the name records an event', async () => {
  const { json } = await create('before', '--json')
  const rename = (name: string) => apiKey(['rename', json.id, '--name', name])
  expect((await rename('after')).stdout).toBe(`Renamed ${json.id} to after.\n`)
  expect((await rename('after')).code).toBe(0)
  expect((await rename('\u0007')).code).toBe(2)
  const renames = "SELECT data ->> 'name' AS name FROM events WHERE type = 'api_key.updated'"
  expect((await database.prepare(renames).all()).results).toEqual([{ name: 'after' }])
  await apiKey(['revoke', json.id])
  expect(await rename('too late')).toMatchObject({ code: 1, stderr: expect.stringContaining('is revoked') })
})

test('an API key is revoked by ID or by name, and a second revocation has no effect', async () => {
  const { json: byId } = await create('by-id', '--json')
  expect((await apiKey(['revoke', byId.id])).stdout).toBe(
    `Revoked: by-id (${byId.id}), which could read and write in staging. It was never used.\n`,
  )
  const again = await apiKey(['revoke', byId.id])
  expect(again.stdout).toContain(`Already revoked: by-id (${byId.id})`)
  const { json: byName } = await create('by-name', '--json')
  const revoked = await apiKey(['revoke', '--environment', 'staging', '--name', 'by-name', '--json'])
  expect(revoked.json).toMatchObject({ id: byName.id, revoked_at: expect.stringMatching(/Z$/) })
})

test('an API key whose name another key also has can only be revoked by its ID', async () => {
  const [{ json: first }, { json: second }] = [await create('twin', '--json'), await create('twin', '--json')]
  const byName = ['revoke', '--environment', 'staging', '--name', 'twin']
  const { code, stderr } = await apiKey(byName)
  expect(stderr).toContain(`staging has 2 active API keys named twin: ${first.id}, ${second.id}. Nothing was changed.`)
  expect(code).toBe(1)
  await apiKey(['revoke', first.id])
  expect((await apiKey([...byName, '--json'])).json.id).toBe(second.id)
})

test('an unknown environment, ID or name is reported with exit code 1', async () => {
  const environment = await apiKey(['list', '--environment', 'nowhere'])
  expect(environment.stderr).toContain(
    'Environment nowhere was not found. Nothing was changed. The environments are: staging, production.',
  )
  const id = await apiKey(['revoke', 'api_key_unknown'])
  expect(id.stderr).toContain(
    'API key api_key_unknown was not found. Nothing was changed. See: npm run api-key -- list',
  )
  const name = await apiKey(['revoke', '--environment', 'staging', '--name', "it's"])
  expect(name.stderr).toContain(`staging has no API key named 'it'\\''s'. Nothing was changed.`)
  expect([environment, id, name].map(({ code, stdout }) => ({ code, stdout }))).toEqual(
    Array(3).fill({ code: 1, stdout: '' }),
  )
})

describe('an API key that cannot be shown', () => {
  const keysNamed = async (name: string) => {
    const { json } = await apiKey(['list', '--environment', 'staging', '--json'])
    return json.filter((key: { name: string }) => key.name === name)
  }
  const full = async () => {
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
  }
  const words = (name: string) => ['create', '--environment', 'staging', '--name', name, '--access', 'write']

  test.each([[[]], [['--json']]])(
    'a new API key that cannot be written to stdout is revoked: options %j',
    async (json) => {
      const name = `unseen${json.length}`
      const { code, stderr } = await apiKey([...words(name), ...json], { write: full })
      expect(stderr).toMatch(
        /API key api_key_\w{26} could not be written to standard output \(ENOSPC\)\. It was revoked, because it was not shown\.\n$/,
      )
      expect(code).toBe(1)
      expect(await keysNamed(name)).toMatchObject([{ revoked_at: expect.stringMatching(/Z$/) }])
    },
  )

  test('if a new API key can be neither shown nor revoked, the error has its ID and the command that revokes it', async () => {
    let batches = 0
    const binding = new Proxy(database, {
      get: (target, property) =>
        property === 'batch'
          ? (statements: D1PreparedStatement[]) => {
              if (++batches > 2) throw new Error('the database is gone')
              return target.batch(statements)
            }
          : Reflect.get(target, property).bind(target),
    })
    const { code, stderr } = await apiKey(words('lost'), {
      write: full,
      openLocalRegions: async () => regionsOf(binding),
    })
    const [{ id }] = await keysNamed('lost')
    expect(stderr).toContain(
      `API key ${id} could not be written to standard output (ENOSPC). It still exists, because undoing its creation failed (the database is gone). Run: npm run api-key -- revoke ${id}`,
    )
    expect(code).toBe(1)
  })

  test('api-key create with closed stdout creates no key', async () => {
    const { code, stderr } = await apiKey(words('closed'), { hasReader: false })
    expect(stderr).toBe('Standard output is closed or /dev/null, so the API key would be lost. Nothing was changed.\n')
    expect(code).toBe(1)
    expect(await keysNamed('closed')).toEqual([])
  })
})

test('a command whose list or help cannot be written to stdout ends with exit code 1', async () => {
  const broken = async () => {
    throw Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })
  }
  for (const words of [['list'], ['list', '--json'], ['--help']]) {
    const { code, stderr } = await apiKey(words, { write: broken })
    expect(stderr).toMatch(
      /The command has finished, but its result could not be written to standard output \(EPIPE\)\.\n$/,
    )
    expect(code).toBe(1)
  }
})
