import { env } from 'cloudflare:workers'
import { describe, expect, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { checkSettings, readSettings, type Settings } from '../../src/http/settings.ts'
import { call, newApiKey, send } from '../api.ts'

const CASES: [name: keyof Settings, valid: unknown[], invalid: unknown[]][] = [
  [
    'CLIENT_SECRET_PREFIX',
    ['cs', 'my_app', 'A', '_', 'acme_sk', 'x'.repeat(32)],
    ['', 'my-app', 'a b', 'é', 'x'.repeat(33), 5, null, undefined, ['cs'], 'sk', 'SK', 'session', 'whsec', 'client'],
  ],
  [
    'MAX_SECRETS_PER_APPLICATION',
    [1, 5, 100, '1', '100', '05'],
    [0, 101, -1, 1.5, '', 'x', '5x', ' 5', '5 ', '+5', '5.0', '0x10', '1e1', true, [5], null, undefined, Number.NaN],
  ],
  [
    'REGIONS',
    ['0=DB', 'A=DB', 'Z=DB'],
    ['', 'DB', '0=', '=DB', '0:DB', '0=DB,', '0=DB, 1=DB', '0=DB,0=D', '0=DB,1=DB', '00=DB', 'a=DB', 'I=DB', 'é=DB', 0],
  ],
  ['REQUEST_BUDGET_MS', [1000, 5000, 30_000, '5000'], [0, 999, 30_001, '5s', '', undefined, '9'.repeat(400)]],
  ['ACCESS_TOKEN_TTL_SECONDS', [60, 3600, 86_400, '3600'], [0, 3, 59, 86_401, -3600, '1h', undefined]],
  ['EVENT_RETENTION_DAYS', [1, 365, 3650, '30'], [0, 3651, '30 days', false, undefined]],
  ['D1_QUERIES_PER_INVOCATION', [50, 1_000], [0, 49, 1_001, '1 000', undefined]],
  ['WEBHOOK_TIMEOUT_MS', [100, 10_000, 20_000], [0, 20_001, '10 s', undefined]],
  [
    'GITHUB_KEYS_URL',
    ['', 'https://api.github.com/meta/public_keys/secret_scanning', 'http://127.0.0.1:1/keys'],
    ['http://api.github.com/', 'file:///etc/passwd', 'x', null, undefined, 1],
  ],
  ['WEBHOOKS_TO_LOCALHOST', [true, false, 'true', 'false'], ['yes', 'TRUE', 1, 0, '', null, undefined, [true]]],
  [
    'ISSUER',
    ['', 'https://secrets.example.com', 'https://x.example:8443', 'http://127.0.0.1:8787', 'http://localhost:1'],
    [
      'https://secrets.example.com/',
      'https://secrets.example.com/a',
      'HTTPS://secrets.example.com',
      'https://Secrets.example.com',
      'https://secrets.example.com:443',
      'https://user@secrets.example.com',
      'https://secrets.example.com?x',
      'http://secrets.example.com',
      'secrets.example.com',
      'ftp://localhost',
      'null',
      5,
      undefined,
    ],
  ],
]

describe.each(CASES)('the setting %s', (name, valid, invalid) => {
  test.each(valid)('the setting can be %j', (value) => {
    const read = readSettings({ ...env, [name]: value })[name]
    if (name !== 'REGIONS') expect(String(read)).toBe(String(value).replace(/^0(?=\d)/, ''))
    expect(checkSettings({ ...env, [name]: value })).toEqual([])
  })

  test.each(invalid)('the setting can’t be %j, which is refused and not converted', (value) => {
    const [problem, ...others] = checkSettings({ ...env, [name]: value })
    expect(others).toEqual([])
    expect(problem).toMatch(new RegExp(`^${name} is .{1,70}\\. It must be .*\\(wrangler\\.toml\\)\\.$`))
    expect(() => readSettings({ ...env, [name]: value })).toThrow(problem)
  })
})

test('the setting REGIONS is parsed into digits and bindings, in their order', () => {
  expect(readSettings({ ...env, REGIONS: 'Z=DB_A,0=DB', DB_A: env.DB }).REGIONS).toEqual([
    { digit: 'Z', binding: 'DB_A' },
    { digit: '0', binding: 'DB' },
  ])
})

test.each(['DB_MISSING', 'ASSETS', 'MANAGEMENT_CALLS', 'ISSUER', 'REGIONS', 'constructor', '__proto__'])(
  'a region with the binding %s is refused, because no D1 database has this binding',
  (binding) => {
    const REGIONS = `0=DB,1=${binding}`
    const problem = `REGIONS is "${REGIONS}" (wrangler.toml), and wrangler.toml has no D1 database ${binding}.`
    expect(checkSettings({ ...env, REGIONS })).toEqual([problem])
    expect(() => readSettings({ ...env, REGIONS })).toThrow(problem)
  },
)

test('the message for an invalid setting has the variable, its value, its bounds and the file', () => {
  expect(checkSettings({ ...env, ACCESS_TOKEN_TTL_SECONDS: 3 }, '.dev.vars')).toEqual([
    'ACCESS_TOKEN_TTL_SECONDS is 3. It must be a whole number from 60 to 86400 (.dev.vars).',
  ])
})

test('all invalid settings are reported at once, each variable only once', () => {
  const problems = checkSettings({ ...env, ISSUER: undefined, EVENT_RETENTION_DAYS: 'x' })
  expect(problems.map((problem) => problem.split(' ')[0])).toEqual(['ISSUER', 'EVENT_RETENTION_DAYS'])
})

test('the message for an invalid setting does not repeat a credential', async () => {
  const { plaintext } = await issueCredential('cs', '0')
  for (const name of ['CLIENT_SECRET_PREFIX', 'ISSUER', 'REQUEST_BUDGET_MS']) {
    expect(checkSettings({ ...env, [name]: plaintext }).join()).not.toContain(plaintext.slice(5, 40))
  }
})

test('the settings are parsed once per environment object', () => {
  const bindings = { ...env }
  expect(readSettings(bindings)).toBe(readSettings(bindings))
  expect(readSettings({ ...env })).not.toBe(readSettings(bindings))
})

test('wrangler.toml has valid settings', () => {
  expect(readSettings(env)).toMatchObject({
    CLIENT_SECRET_PREFIX: 'cs',
    MAX_SECRETS_PER_APPLICATION: 5,
    ACCESS_TOKEN_TTL_SECONDS: 3600,
    EVENT_RETENTION_DAYS: 365,
  })
})

test.each(['sk', 'session', 'whsec', 'client', 'conn_app', 'secret', 'api_key', 'env', 'event', 'we', 'org'])(
  'client secrets cannot have the prefix %s, which other objects or credentials have',
  (prefix) => {
    expect(checkSettings({ ...env, CLIENT_SECRET_PREFIX: prefix }).join()).toContain(
      `CLIENT_SECRET_PREFIX is "${prefix}". It must be`,
    )
  },
)

describe('an invalid setting', async () => {
  const { apiKey } = await newApiKey()
  const bindings = { REQUEST_BUDGET_MS: 1 }
  const logged = vi.spyOn(console, 'error').mockImplementation(() => {})

  test('with an invalid setting, a call gets 500 without Retry-After, and the log names the setting', async () => {
    const { status, json, headers } = await call(apiKey, 'GET', '/connect/applications', { bindings })
    expect([status, json.code, headers.get('Retry-After')]).toEqual([500, 'internal_error', null])
    expect(json.message).toMatch(/settings are invalid.*operator/i)
    expect(json.message).not.toMatch(/retry|again/i)
    expect(JSON.stringify(logged.mock.calls)).toContain('REQUEST_BUDGET_MS is 1. It must be a whole number')
  })

  test('/readyz names the invalid setting, its value and its bounds, and /healthz returns 200', async () => {
    const ready = await send(new Request('https://oncekey.test/readyz'), bindings)
    expect(ready.status).toBe(503)
    expect(ready.json.message).toContain('REQUEST_BUDGET_MS is 1. It must be a whole number from 1000 to 30000')
    expect((await send(new Request('https://oncekey.test/healthz'), bindings)).status).toBe(200)
  })
})

describe('the settings of Cloudflare Access', () => {
  const tag = 'ab'.repeat(32)
  const id = 'api_key_01KA3Z5T4R0E6G8J0M2P4S6V8X'
  const check = (ACCESS_TEAM_DOMAIN: unknown, ACCESS_AUDIENCES: unknown) =>
    checkSettings({ ...env, ACCESS_TEAM_DOMAIN, ACCESS_AUDIENCES })
  const domain = 'https://team.cloudflareaccess.com'

  test('the team domain and the audiences can both be empty or both be set, with one audience or several', () => {
    const other = 'cd'.repeat(32)
    expect(check('', '')).toEqual([])
    expect(check(domain, `${tag}=${id},${other}=${id}`)).toEqual([])
    const { ACCESS_AUDIENCES } = readSettings({ ...env, ACCESS_TEAM_DOMAIN: domain, ACCESS_AUDIENCES: `${tag}=${id}` })
    expect([...ACCESS_AUDIENCES]).toEqual([[tag, id]])
  })

  test('a team domain without audiences, or audiences without a team domain, is refused with the name of the missing setting', () => {
    const end = 'Set both, or leave both empty (wrangler.toml).'
    expect(check(domain, '')).toEqual([`ACCESS_TEAM_DOMAIN is set, and ACCESS_AUDIENCES is empty. ${end}`])
    expect(check('', `${tag}=${id}`)).toEqual([`ACCESS_AUDIENCES is set, and ACCESS_TEAM_DOMAIN is empty. ${end}`])
  })

  test.each([
    undefined,
    null,
    'team',
    'team.cloudflareaccess.com',
    `${domain}/`,
    `${domain}/cdn-cgi`,
    'http://a.com',
    5,
  ])('the team domain %j is refused', (value) => {
    expect(check(value, `${tag}=${id}`).join()).toMatch(/^ACCESS_TEAM_DOMAIN is .* such as https:\/\/TEAM\./)
  })

  test.each([
    undefined,
    null,
    5,
    'x',
    tag,
    `${tag}=`,
    `=${id}`,
    `${tag}:${id}`,
    `${tag}=${id},`,
    `${tag}=${id}, ${'cd'.repeat(32)}=${id}`,
    `${tag}=${id},${tag}=${id}`,
    `${tag.slice(1)}=${id}`,
    `${tag.toUpperCase()}=${id}`,
    `${tag}=${id.slice(0, -1)}`,
    `${tag}=env_01KA3Z5T4R0E6G8J0M2P4S6V8X`,
    `${tag}=sk_${id}`,
  ])('the audiences %j are refused', (value) => {
    expect(check(domain, value).join()).toMatch(/^ACCESS_AUDIENCES is .* It must be TAG=API_KEY_ID/)
  })

  test('an audience whose API key is in an unknown region is refused', () => {
    const elsewhere = id.replace('KA3Z5T4R0', 'KA3Z5T4R7')
    expect(check(domain, `${tag}=${elsewhere}`)).toEqual([
      `ACCESS_AUDIENCES has ${elsewhere} (wrangler.toml), whose region ${elsewhere.at(-16)} is not in REGIONS.`,
    ])
  })
})
