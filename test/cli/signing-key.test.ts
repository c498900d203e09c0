import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import type { Platform } from '../../src/cli/deployment.ts'
import { hasSigningKey, type RotationPlan, rotation } from '../../src/cli/signing-keys.ts'
import { runSteps } from '../../src/cli/steps.ts'
import type { Finished } from '../../src/cli/wrangler.ts'
import { newSigningKey } from '../../src/credential/signing-key.ts'
import { signingKeys } from '../../src/oauth/signing-keys.ts'
import { newFolder, run } from './processes.ts'

describe('npm run signing-key, for dev', () => {
  test('makes a key, exchanges it, and shows which are published', async () => {
    const folder = await newFolder()
    const signingKey = async (...args: string[]) => {
      const { code, stdout, stderr } = await run('signing-key', [...args, '--persist-to', folder, '--json'])
      return { code, json: stdout && JSON.parse(stdout), stderr }
    }
    expect(await signingKey('status')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('signing-key -- create'),
    })
    expect(await signingKey('rotate')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('signing-key -- create'),
    })
    const first = (await signingKey('create')).json.kid
    expect((await stat(join(folder, '.signing-key.json'))).mode & 0o777).toBe(0o600)
    expect(await signingKey('create')).toMatchObject({ code: 1, stderr: expect.stringContaining('rotate') })
    const second = (await signingKey('rotate', '--algorithm', 'ES256')).json.kid
    expect((await signingKey('status')).json).toEqual([
      { kid: second, algorithm: 'ES256', signs: true },
      { kid: first, algorithm: 'RS256', signs: false },
    ])
    const third = (await signingKey('rotate', '--leaked')).json.kid
    expect((await signingKey('status')).json).toEqual([{ kid: third, algorithm: 'ES256', signs: true }])
  })

  test.each([
    ['an algorithm that is none', ['create', '--algorithm', 'HS256'], 2],
    ['two places', ['status', '--remote', '--persist-to', 'x'], 2],
    ['no word', [], 2],
    ['a word that is none', ['renew'], 2],
    ['help', ['--help'], 0],
  ])('%s: a plain answer', async (_, args, code) => {
    const finished = await run('signing-key', args)
    expect(finished.code).toBe(code)
    expect(finished.stdout + finished.stderr).toContain('Usage: npm run signing-key -- ')
    expect(finished.stderr).not.toMatch(/\n\s+at /)
  })
})

const DAY_MS = 24 * 60 * 60 * 1000

/** A deployed Worker with its secrets, as wrangler sets them; its clock goes on only while somebody sleeps. */
class Deployment {
  readonly secrets: Record<string, string> = {}
  /** The call of wrangler's, counted from one, that fails; once. */
  broken = 0
  calls = 0
  now = 0
  /** What goes on while time passes. */
  meanwhile = async () => {}

  readonly platform: Platform = {
    wrangler: async (args) => {
      if (++this.calls === this.broken) return failed('A request to the Cloudflare API failed.')
      if (args.join(' ').startsWith('secret list'))
        return succeeded(JSON.stringify(Object.keys(this.secrets).map((name) => ({ name }))))
      expect(args.slice(0, 2)).toEqual(['secret', 'bulk'])
      Object.assign(this.secrets, JSON.parse(await readFile(args[2] as string, 'utf8')))
      return succeeded('')
    },
    openDatabase: () => Promise.reject(new Error('no command about keys opens the database')),
    fetch: async (url) => {
      expect(url).toBe('https://secrets.example.com/oauth2/jwks')
      return Response.json((await this.keys()).published)
    },
    sleep: async (milliseconds) => {
      for (const end = this.now + milliseconds; this.now < end; this.now = Math.min(end, this.now + 5_000))
        await this.meanwhile()
    },
  }

  keys = () => signingKeys(this.secrets as unknown as Env)

  rotation(plan: Partial<RotationPlan> & { pendingKey: string }) {
    const defaults = { worker: 'oncekey', issuer: 'https://secrets.example.com', algorithm: undefined, isLeaked: false }
    return rotation(this.platform, { ...defaults, ...plan })
  }
}

const succeeded = (stdout: string): Finished => ({ code: 0, stdout, stderr: '' })
const failed = (reason: string): Finished => ({ code: 1, stdout: '', stderr: `✘ [ERROR] ${reason}\n` })

async function deployed() {
  const deployment = new Deployment()
  deployment.secrets.SIGNING_KEY = JSON.stringify(await newSigningKey('ES256'))
  const pendingKey = join(await newFolder(), 'pending/key.json')
  return { deployment, pendingKey }
}

/** A resource server that keeps the published keys for as long as it may, and sees every token that is issued. */
async function verifier(deployment: Deployment) {
  let cached: { readonly at: number; readonly keys: JSONWebKeySet } | undefined
  const tokens: string[] = []
  return async () => {
    const { privateKey, kid, algorithm, published } = await deployment.keys()
    tokens.push(await new SignJWT({}).setProtectedHeader({ alg: algorithm, kid }).sign(privateKey))
    if (!cached || deployment.now - cached.at >= 300_000) cached = { at: deployment.now, keys: published }
    const find = createLocalJWKSet(cached.keys)
    for (const token of [tokens[0], tokens.at(-1)] as string[]) await jwtVerify(token, find)
    return tokens.length
  }
}

describe('npm run signing-key, for the deployed Worker', () => {
  test('a rotation under a steady stream of verifications loses none', async () => {
    const { deployment, pendingKey } = await deployed()
    const verify = await verifier(deployment)
    deployment.meanwhile = async () => void (await verify())
    await verify()
    const before = (await deployment.keys()).kid
    const { steps, kid } = deployment.rotation({ pendingKey })
    await runSteps(steps, 'again')
    await deployment.platform.sleep(DAY_MS / 24)
    const { kid: signs, published } = await deployment.keys()
    expect([signs, published.keys.map((key) => key.kid)]).toEqual([kid(), [kid(), before]])
    expect(await verify()).toBeGreaterThan(700)
    expect(deployment.now).toBeGreaterThan(300_000)
    expect(existsSync(pendingKey)).toBe(false)
  })

  test.each([1, 2])('stopped at wrangler’s call %i, it goes on with the same key', async (call) => {
    const { deployment, pendingKey } = await deployed()
    deployment.broken = call
    const stopped = deployment.rotation({ pendingKey })
    await expect(runSteps(stopped.steps, 'npm run it')).rejects.toThrow(/Then run `npm run it` again/)
    const again = deployment.rotation({ pendingKey })
    await runSteps(again.steps, 'npm run it')
    expect([again.kid(), (await deployment.keys()).kid]).toEqual([stopped.kid(), stopped.kid()])
  })

  test('a leaked key is exchanged at once, and published no longer', async () => {
    const { deployment, pendingKey } = await deployed()
    const { steps, kid } = deployment.rotation({ pendingKey, isLeaked: true })
    await runSteps(steps, 'again')
    expect((await deployment.keys()).published.keys.map((key) => key.kid)).toEqual([kid()])
    expect(deployment.now).toBe(0)
  })

  test('keys from before the last rotation are dropped', async () => {
    const { deployment, pendingKey } = await deployed()
    const kids = []
    for (let i = 0; i < 4; i++) {
      const { steps, kid } = deployment.rotation({ pendingKey })
      await runSteps(steps, 'again')
      kids.unshift(kid())
    }
    expect((await deployment.keys()).published.keys.map((key) => key.kid)).toEqual(kids.slice(0, 3))
  })

  test('a Worker that is not there has no key, and one that cannot be asked is not guessed about', async () => {
    const { deployment } = await deployed()
    expect(await hasSigningKey(deployment.platform, 'oncekey')).toBe(true)
    const answering = (finished: Finished) => ({ wrangler: async () => finished })
    expect(await hasSigningKey(answering(failed('This Worker does not exist on your account.')), 'oncekey')).toBe(false)
    await expect(hasSigningKey(answering(failed('Authentication error')), 'oncekey')).rejects.toThrow('does not tell')
  })
})
