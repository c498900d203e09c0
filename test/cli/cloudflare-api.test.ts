import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { login, requireSubdomain } from '../../src/cli/cloudflare-api.ts'
import { newFolder } from './folder.ts'

/** The login to Cloudflare's API, with the credentials that wrangler has. */

interface Request {
  readonly path: string
  readonly headers: Record<string, string>
}

let requests: Request[] = []
let accounts: { id: string; name: string }[] = []
/** The status and the error of a refused path. */
let refused: Record<string, { status: number; code: number; message: string }> = {}

beforeEach(() => {
  requests = []
  refused = {}
  accounts = [{ id: 'a1', name: 'Jane’s' }]
  for (const name of ['CLOUDFLARE_ACCOUNT_ID', 'CLOUDFLARE_API_TOKEN', 'CLOUDFLARE_API_KEY', 'CF_API_KEY'])
    vi.stubEnv(name, undefined)
  vi.stubEnv('CLOUDFLARE_API_BASE_URL', 'https://api.test')
  vi.stubGlobal('fetch', async (url: string, { headers }: { headers: Record<string, string> }) => {
    const path = url.replace('https://api.test', '')
    requests.push({ path, headers })
    const refusal = Object.entries(refused).find(([start]) => path.startsWith(start))?.[1]
    if (refusal) return Response.json({ success: false, errors: [refusal] }, { status: refusal.status })
    return Response.json({
      success: true,
      result: path.startsWith('/accounts?') ? accounts : { email: 'jane@example.com' },
    })
  })
})

const wrangler = (credentials: object) => async () => ({ code: 0, stdout: JSON.stringify(credentials), stderr: '' })
const token = wrangler({ type: 'api_token', token: 't' })

test.each([
  [{ type: 'api_token', token: 't' }, { Authorization: 'Bearer t' }],
  [{ type: 'oauth', token: 'o' }, { Authorization: 'Bearer o' }],
  [
    { type: 'api_key', key: 'k', email: 'jane@example.com' },
    { 'X-Auth-Key': 'k', 'X-Auth-Email': 'jane@example.com' },
  ],
])('with the credentials %j and one account, the login chooses this account', async (credentials, headers) => {
  const account = await login(undefined, wrangler(credentials))
  expect(account.description).toBe('Logged in as jane@example.com, account Jane’s.')
  await account.call('GET', '/workers/subdomain')
  expect(requests.at(-1)).toMatchObject({ path: '/accounts/a1/workers/subdomain', headers })
})

test('with CLOUDFLARE_API_TOKEN, the login uses this token and does not start wrangler', async () => {
  vi.stubEnv('CLOUDFLARE_API_TOKEN', 'from-env')
  const start = () => Promise.reject(new Error('wrangler was started'))
  expect((await login(undefined, start, await newFolder())).id).toBe('a1')
  expect(requests.map(({ headers }) => headers.Authorization)).toEqual(requests.map(() => 'Bearer from-env'))
})

test.each(['CLOUDFLARE_API_KEY', 'CF_API_KEY', '.env', '.env.local'])(
  'with CLOUDFLARE_API_TOKEN and %s, wrangler chooses the credentials',
  async (name) => {
    const folder = await newFolder()
    vi.stubEnv('CLOUDFLARE_API_TOKEN', 'from-env')
    if (name.startsWith('.')) await writeFile(join(folder, name), '')
    else vi.stubEnv(name, 'k')
    await login(undefined, wrangler({ type: 'api_key', key: 'k', email: 'jane@example.com' }), folder)
    expect(requests.at(-1)?.headers).toMatchObject({ 'X-Auth-Key': 'k' })
  },
)

test('with an empty CLOUDFLARE_API_TOKEN, the login uses the credentials of wrangler', async () => {
  vi.stubEnv('CLOUDFLARE_API_TOKEN', '')
  await login(undefined, token)
  expect(requests.at(-1)?.headers).toMatchObject({ Authorization: 'Bearer t' })
})

test('without a Cloudflare login, the error says how to log in', async () => {
  const stderr = '✘ [ERROR] Not logged in. Please run `wrangler login` to authenticate.\n'
  await expect(login(undefined, async () => ({ code: 1, stdout: '', stderr }))).rejects.toThrow(
    'Could not read the Cloudflare login: You are not logged in to Cloudflare. Run `npx wrangler login`, or set CLOUDFLARE_API_TOKEN.',
  )
  expect(requests).toEqual([])
})

describe('the choice of the Cloudflare account', () => {
  test('an operator with several accounts chooses one in wrangler.toml or by CLOUDFLARE_ACCOUNT_ID', async () => {
    accounts = [...accounts, { id: 'b2', name: 'Shop' }]
    await expect(login(undefined, token)).rejects.toThrow(
      'The Cloudflare login has access to several accounts: Jane’s (a1), Shop (b2). Nothing was changed. Set account_id in wrangler.toml, or CLOUDFLARE_ACCOUNT_ID.',
    )
    expect((await login('b2', token)).description).toContain('account Shop.')
    vi.stubEnv('CLOUDFLARE_ACCOUNT_ID', 'a1')
    expect((await login(undefined, token)).id).toBe('a1')
  })

  test('the error for a Cloudflare token without access to an account has the permissions that the token needs', async () => {
    accounts = []
    await expect(login(undefined, token)).rejects.toThrow(
      /has access to no account\. Nothing was changed\. An API token needs/,
    )
  })

  test('with a chosen account, the login needs no permission to list accounts or to read the user', async () => {
    refused = { '/accounts?': forbidden, '/user': forbidden }
    const { description } = await login('a1', token)
    expect(description).toBe('Logged in as the holder of an API token, account a1.')
  })
})

const forbidden = { status: 403, code: 9109, message: 'Unauthorized to access requested resource' }

describe('a failed call of Cloudflare’s API', () => {
  test('the error of a refused call has the reason, the code and the missing permissions', async () => {
    refused = { '/accounts/a1/workers/subdomain': forbidden }
    await expect(requireSubdomain(await login('a1', token))).rejects.toThrow(
      /^Could not read the workers\.dev subdomain: Cloudflare refused: Unauthorized to access requested resource \[code: 9109\]\. An API token needs the permissions Workers Scripts Edit/,
    )
    refused = { '/accounts/a1/workers/subdomain': { status: 500, code: 10001, message: 'Try later.' } }
    await expect(requireSubdomain(await login('a1', token))).rejects.toThrow(
      /Cloudflare refused: Try later \[code: 10001\]\.$/,
    )
  })

  test('the error of a call without a response has the cause', async () => {
    const account = await login('a1', token)
    vi.stubGlobal('fetch', async () => {
      throw new TypeError('fetch failed', { cause: new Error('getaddrinfo ENOTFOUND api.cloudflare.com') })
    })
    await expect(account.call('GET', '/x')).rejects.toThrow(
      'Cloudflare did not respond (getaddrinfo ENOTFOUND api.cloudflare.com).',
    )
  })
})
