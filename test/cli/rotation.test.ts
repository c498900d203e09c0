import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createLocalJWKSet, type JSONWebKeySet, type JWK, jwtVerify, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { refusalOf } from '../../src/cli/cloudflare-api.ts'
import { type Account, Failure, type Platform, runSteps } from '../../src/cli/command.ts'
import { hasSigningKey } from '../../src/cli/platform.ts'
import { type RotationPlan, rotationSteps } from '../../src/cli/rotation.ts'
import { newSigningKey } from '../../src/credential/signing-key.ts'
import { signingKeys } from '../../src/oauth/signing-keys.ts'
import { newFolder } from './folder.ts'

/** `npm run signing-key -- rotate --remote`, against a Worker whose clock goes on only while the command sleeps. */

const URL = 'https://secrets.example.com'
const HOUR_MS = 60 * 60 * 1000
const START = Date.parse('2026-11-26T12:00:00Z')

class Deployment {
  readonly secrets: Record<string, string> = {}
  /** Which upload of secrets fails, counted from 1. */
  broken = 0
  /** Whether the failed upload took effect all the same: the reply was lost. */
  isReplyLost = false
  /** How many reads of the published keys after an upload still show those from before. */
  staleAfterUpload = 0
  secondsWaited = 0
  uploads = 0
  now = START
  serving = [{ version_id: 'v2', percentage: 100 }]
  /** Cloudflare's answer to a change of secrets, if it refuses. */
  refusal: { code: number; message: string } | undefined
  /** Runs every five seconds while the command sleeps. */
  meanwhile = async () => {}
  readonly said: string[] = []
  #before: Record<string, string> = {}
  #stale = 0

  readonly platform: Platform = {
    wrangler: () => Promise.reject(new Error('a rotation needs no wrangler')),
    login: async () => ({
      id: 'a',
      description: '',
      call: (async (method, path, body) => this.#answer(method, path, body)) as Account['call'],
    }),
    openRegions: () => Promise.reject(new Error('no command about keys opens the database')),
    fetch: async (url) => {
      expect(url).toBe(`${URL}/oauth2/jwks`)
      const secrets = this.#stale-- > 0 ? this.#before : this.secrets
      return Response.json((await signingKeys({ ...secrets })).published)
    },
    sleep: async (milliseconds) => {
      for (const end = this.now + milliseconds; this.now < end; this.now = Math.min(end, this.now + 5_000))
        await this.meanwhile()
    },
    now: () => this.now,
  }

  async #answer(method: string, path: string, body?: object | string): Promise<unknown> {
    if (path.endsWith('/deployments')) return { deployments: [{ versions: this.serving }] }
    expect(`${method} ${path}`).toBe('PATCH /workers/scripts/oncekey/secrets-bulk')
    if (this.refusal) throw refusalOf(400, this.refusal)
    const isBroken = ++this.uploads === this.broken
    if (!isBroken || this.isReplyLost) {
      this.#before = { ...this.secrets }
      this.#stale = this.staleAfterUpload
      const { secrets } = body as { secrets: Record<string, { text: string }> }
      for (const [name, { text }] of Object.entries(secrets)) this.secrets[name] = text
    }
    if (isBroken) throw new Failure('The operation was aborted due to timeout')
    return {}
  }

  keys = () => signingKeys({ ...this.secrets })
  published = async () => (await this.keys()).published.keys as (JWK & { retired_at?: number })[]
  signs = async () => (await this.keys()).kid

  async rotate({ isLeaked = false, ...changes }: Partial<RotationPlan> & { isLeaked?: boolean; pendingFile: string }) {
    const plan = { accountId: undefined, worker: 'oncekey', issuer: URL, algorithm: undefined, ...changes }
    const context = { platform: this.platform, progress: (line: string) => void this.said.push(line) }
    const { steps, next } = rotationSteps(context, plan, isLeaked)
    await runSteps(context, steps, 'npm run it')
    return next().kid
  }
}

async function deployed() {
  const deployment = new Deployment()
  deployment.secrets.SIGNING_KEY = JSON.stringify(await newSigningKey('ES256'))
  const pendingFile = join(await newFolder(), 'pending/key.json')
  return { deployment, pendingFile, first: await deployment.signs() }
}

/** A resource server that caches the published keys for as long as it may, and sees every token. */
function verifier(deployment: Deployment) {
  let cached: { readonly at: number; readonly keys: JSONWebKeySet } | undefined
  const tokens: string[] = []
  return async () => {
    const { privateKey, kid, algorithm, published } = await deployment.keys()
    tokens.push(await new SignJWT({}).setProtectedHeader({ alg: algorithm, kid }).sign(privateKey))
    if (!cached || deployment.now - cached.at >= 300_000)
      cached = { at: deployment.now, keys: published as JSONWebKeySet }
    const find = createLocalJWKSet(cached.keys)
    for (const token of [tokens[0], tokens.at(-1)] as string[]) await jwtVerify(token, find)
    return tokens.length
  }
}

describe('a rotation', () => {
  test('during a rotation of the signing key, all tokens can be verified', async () => {
    const { deployment, pendingFile, first } = await deployed()
    const verify = verifier(deployment)
    deployment.meanwhile = async () => void (await verify())
    await verify()
    const kid = await deployment.rotate({ pendingFile })
    await deployment.platform.sleep(HOUR_MS)
    expect(await deployment.signs()).toBe(kid)
    expect((await deployment.published()).map((key) => key.kid)).toEqual([kid, first])
    expect(await verify()).toBeGreaterThan(700)
    expect(deployment.now - START).toBeGreaterThanOrEqual(300_000 + HOUR_MS)
    expect(existsSync(pendingFile)).toBe(false)
  })

  test('a rotation sets the retirement of the old key to five minutes after the new key begins to sign', async () => {
    const { deployment, pendingFile, first } = await deployed()
    const kid = await deployment.rotate({ pendingFile })
    expect(await deployment.published()).toMatchObject([
      { kid },
      { kid: first, retired_at: deployment.now / 1000 + 300 },
    ])
    expect((await deployment.published())[0]).not.toHaveProperty('retired_at')
  })

  test('a rotation removes the old keys whose last token has expired, and no others', async () => {
    const { deployment, pendingFile, first } = await deployed()
    const second = await deployment.rotate({ pendingFile })
    deployment.now += 23 * HOUR_MS
    const third = await deployment.rotate({ pendingFile })
    expect((await deployment.published()).map((key) => key.kid)).toEqual([third, second, first])
    deployment.now += 2 * HOUR_MS
    const fourth = await deployment.rotate({ pendingFile })
    expect((await deployment.published()).map((key) => key.kid)).toEqual([fourth, third, second])
  })

  test.each([1, 2])('a rotation that failed at upload %i continues with the same key', async (upload) => {
    const { deployment, pendingFile } = await deployed()
    deployment.broken = upload
    await expect(deployment.rotate({ pendingFile })).rejects.toThrow(
      /Could not set the secrets of the Worker: .*\nRun `npm run it` again: it continues from this step\./,
    )
    const saved = JSON.parse(await readFile(pendingFile, 'utf8')).key.kid
    const kid = await deployment.rotate({ pendingFile })
    expect([kid, await deployment.signs()]).toEqual([saved, saved])
    expect(deployment.said.join()).toContain(`Continuing with ${saved} (ES256).`)
  })

  test('if the last reply of a rotation was lost, the next run finds that the rotation has taken effect', async () => {
    const { deployment, pendingFile, first } = await deployed()
    Object.assign(deployment, { broken: 2, isReplyLost: true })
    await expect(deployment.rotate({ pendingFile })).rejects.toThrow('Could not set the secrets')
    const signs = await deployment.signs()
    expect(await deployment.rotate({ pendingFile })).toBe(signs)
    expect(deployment.said.at(-1)).toContain('The interrupted rotation had already taken effect: the new key signs.')
    expect(deployment.uploads).toBe(2)
    expect(existsSync(pendingFile)).toBe(false)
    expect((await deployment.published()).map((key) => key.kid)).toEqual([signs, first])
  })
})

describe('a saved key that does not match the rotation', () => {
  const saved = async (changes: object = {}) => ({
    worker: 'oncekey',
    url: URL,
    created_at: START - HOUR_MS,
    key: await newSigningKey('ES256'),
    ...changes,
  })
  const publicKey = async () => {
    const { d: _, ...key } = await newSigningKey('ES256')
    return key
  }

  test.each<[string, () => Promise<unknown>, string]>([
    ['of another Worker', () => saved({ worker: 'staging' }), 'it belongs to staging at https://secrets.example.com'],
    [
      'of another account or issuer',
      () => saved({ url: 'https://other.example' }),
      'it belongs to oncekey at https://other.example',
    ],
    ['of another algorithm', async () => saved({ key: await newSigningKey('RS256') }), 'it is for RS256'],
    ['from last week', () => saved({ created_at: START - 7 * 24 * HOUR_MS }), 'it is from 2026-11-19T12:00:00.000Z'],
    ['without a private half', async () => saved({ key: await publicKey() }), 'its file is damaged'],
    [
      'under another name than its thumbprint',
      async () => saved({ key: { ...(await newSigningKey('ES256')), kid: 'x' } }),
      'its file is damaged',
    ],
    ['of an earlier version', () => newSigningKey('ES256'), 'its file is damaged'],
    ['whose file has an empty object', async () => ({}), 'its file is damaged'],
    ['whose file is cut off', async () => '{"kty":"RSA","n":"abc', 'its file is damaged'],
    ['whose file is empty', async () => '', 'its file is damaged'],
  ])('a saved key is not used, and the reason is printed, if it is a key %s', async (_, make, reason) => {
    const { deployment } = await deployed()
    const pendingFile = join(await newFolder(), 'key.json')
    const content = await make()
    await writeFile(pendingFile, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 })
    const kid = await deployment.rotate({ pendingFile })
    expect(deployment.said.join('\n')).toContain(`The saved key is not used: ${reason}. Created ${kid} (ES256).`)
    expect(JSON.stringify(content)).not.toContain(kid)
    expect(await deployment.signs()).toBe(kid)
    expect(existsSync(pendingFile)).toBe(false)
  })

  test('a saved key that was retired by a later rotation is not used', async () => {
    const { deployment, pendingFile, first } = await deployed()
    const key = JSON.parse(deployment.secrets.SIGNING_KEY as string)
    await deployment.rotate({ pendingFile })
    await writeFile(pendingFile, JSON.stringify(await saved({ key, created_at: deployment.now })), { mode: 0o600 })
    expect(await deployment.rotate({ pendingFile })).not.toBe(first)
    expect(deployment.said.join('\n')).toContain('The saved key is not used: it is retired.')
  })
})

describe('a rotation after a leak', () => {
  test('after a leak, the new key signs immediately, and no other key is published', async () => {
    const { deployment, pendingFile } = await deployed()
    const kid = await deployment.rotate({ pendingFile, isLeaked: true })
    expect((await deployment.published()).map((key) => key.kid)).toEqual([kid])
    expect(deployment.now).toBe(START)
  })

  test('after a leak, the rotation does not reuse the key of an interrupted rotation that had taken effect', async () => {
    const { deployment, pendingFile, first } = await deployed()
    Object.assign(deployment, { broken: 2, isReplyLost: true })
    await expect(deployment.rotate({ pendingFile })).rejects.toThrow()
    const leaked = await deployment.signs()
    const kid = await deployment.rotate({ pendingFile, isLeaked: true })
    expect([first, leaked]).not.toContain(kid)
    expect((await deployment.published()).map((key) => key.kid)).toEqual([kid])
  })

  test('after a leak, a saved key is deleted and not used, because it may have leaked as well', async () => {
    const { deployment, pendingFile } = await deployed()
    deployment.broken = 1
    await expect(deployment.rotate({ pendingFile })).rejects.toThrow()
    const saved = JSON.parse(await readFile(pendingFile, 'utf8')).key.kid
    expect(await deployment.rotate({ pendingFile, isLeaked: true })).not.toBe(saved)
    expect(existsSync(pendingFile)).toBe(false)
  })

  test('after a leak, the new key has the requested algorithm', async () => {
    const { deployment, pendingFile } = await deployed()
    await deployment.rotate({ pendingFile, isLeaked: true, algorithm: 'RS256' })
    expect(await deployment.published()).toMatchObject([{ alg: 'RS256' }])
  })

  test('after a leak, the rotation succeeds only when the Worker no longer publishes the leaked key', async () => {
    const { deployment, pendingFile } = await deployed()
    deployment.meanwhile = async () => {
      deployment.secondsWaited += 5
    }
    deployment.staleAfterUpload = 3
    await deployment.rotate({ pendingFile, isLeaked: true })
    expect(deployment.secondsWaited).toBe(15)
  })

  test('after a leak, the rotation fails if the Worker still publishes the leaked key after two minutes', async () => {
    const { deployment, pendingFile, first } = await deployed()
    const keys = await deployment.published()
    Object.assign(deployment.platform, { fetch: async () => Response.json({ keys }) })
    const failure = await deployment.rotate({ pendingFile, isLeaked: true }).catch((error: Error) => error.message)
    const { kid } = JSON.parse(deployment.secrets.SIGNING_KEY as string)
    expect(failure).toContain(
      `The secrets were set, but ${URL}/oauth2/jwks does not show the key ${kid} after two minutes. It shows ${first}.`,
    )
  })

  test('after a leak, the failure names the leaked key if the Worker publishes it beside the new key', async () => {
    const { deployment, pendingFile, first } = await deployed()
    const keys = await deployment.published()
    const { fetch } = deployment.platform
    Object.assign(deployment.platform, {
      fetch: async (...request: Parameters<typeof fetch>) => {
        const { keys: current } = (await (await fetch(...request)).json()) as { keys: typeof keys }
        return Response.json({
          keys: [...current, ...keys.filter((key) => current.every(({ kid }) => kid !== key.kid))],
        })
      },
    })
    await expect(deployment.rotate({ pendingFile, isLeaked: true })).rejects.toThrow(
      `The secrets were set, but ${URL}/oauth2/jwks still shows ${first} after two minutes.`,
    )
  })
})

test('a rotation changes nothing if the URL of the public keys does not return keys', async () => {
  const { deployment, pendingFile } = await deployed()
  Object.assign(deployment.platform, { fetch: async () => new Response('<html>Sign in to the network</html>') })
  await expect(deployment.rotate({ pendingFile })).rejects.toThrow('did not answer with published keys')
  expect(deployment.uploads).toBe(0)
})

describe('if the newest version of the Worker does not serve all requests', () => {
  test.each([10215, 10214])('a rotation with error %i changes no signing key, and says what to do', async (code) => {
    for (const isLeaked of [false, true]) {
      const { deployment, pendingFile, first } = await deployed()
      deployment.refusal = { code, message: "The latest version of your Worker isn't currently deployed" }
      await expect(deployment.rotate({ pendingFile, isLeaked })).rejects.toThrow(
        'No secret was changed, because the newest version of the Worker does not serve all requests: v2 (100 %) does. This happens after `wrangler rollback`, and during a gradual deployment. Run `npm run deploy` with the commit that is to serve, then run this command again.',
      )
      expect(await deployment.signs()).toBe(first)
      deployment.refusal = undefined
      expect(await deployment.rotate({ pendingFile, isLeaked })).not.toBe(first)
    }
  })

  test('a rotation while several versions share the requests is refused before anything is changed', async () => {
    const { deployment, pendingFile } = await deployed()
    deployment.serving = [
      { version_id: 'v1', percentage: 10 },
      { version_id: 'v2', percentage: 90 },
    ]
    await expect(deployment.rotate({ pendingFile })).rejects.toThrow(
      'Several versions of the Worker serve requests, and each has its own secrets: v2 (90 %), v1 (10 %). Nothing was changed.',
    )
    expect(existsSync(pendingFile)).toBe(false)
    expect(deployment.uploads).toBe(0)
  })
})

test('hasSigningKey returns false for an unknown Worker, and throws an error if it cannot read the secrets', async () => {
  const answering = (answer: () => Promise<unknown>) => ({ id: '', description: '', call: answer as Account['call'] })
  const refusing = (code: number) => answering(() => Promise.reject(refusalOf(404, { code, message: 'No' })))
  expect(
    await hasSigningKey(
      answering(async () => [{ name: 'SIGNING_KEY' }]),
      'oncekey',
    ),
  ).toBe(true)
  expect(await hasSigningKey(refusing(10007), 'oncekey')).toBe(false)
  await expect(hasSigningKey(refusing(10000), 'oncekey')).rejects.toThrow(
    'Could not read which secrets the Worker has: Cloudflare refused: No [code: 10000].',
  )
})
