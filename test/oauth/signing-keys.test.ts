import { createLocalJWKSet, decodeProtectedHeader, type JWK, jwtVerify, type LocalJWKSet } from 'jose'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { newSigningKey, type PublishedKey, publicHalf } from '../../src/credential/signing-key.ts'
import { send } from '../api.ts'
import { getToken, introspect, newClient, requestToken } from './client.ts'

const client = await newClient()
const ISSUER = 'https://oncekey.test'
const TTL_SECONDS = 3600
/** How long Cache-Control lets a verifier keep the keys. */
const CACHE_SECONDS = 300

afterEach(() => vi.useRealTimers())

/** The settings of a deployment: the key that signs, and the other keys that are published. */
function keys(signing: JWK, ...published: JWK[]): Partial<Env> {
  return {
    SIGNING_KEY: JSON.stringify(signing),
    ...(published.length > 0 && { PUBLISHED_KEYS: JSON.stringify({ keys: published }) }),
  }
}

async function jwks(bindings: Partial<Env>): Promise<{ keys: PublishedKey[] }> {
  const { status, json } = await send(new Request(`${ISSUER}/oauth2/jwks`), bindings)
  expect(status).toBe(200)
  return json
}

/** Verifies a token as a resource server does (RFC 9068 §4). Throws if it is invalid. */
async function verify(token: string, published: LocalJWKSet): Promise<void> {
  await jwtVerify(token, published, {
    issuer: ISSUER,
    audience: client.audience,
    typ: 'at+jwt',
    requiredClaims: ['exp', 'sub', 'client_id', 'jti'],
  })
}

const MEMBERS = { RS256: ['alg', 'e', 'kid', 'kty', 'n', 'use'], ES256: ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'] }

describe.each(['RS256', 'ES256'] as const)('a signing key for %s', (algorithm) => {
  test('a signing key signs tokens that the published keys verify (RFC 7515)', async () => {
    const key = await newSigningKey(algorithm)
    const bindings = keys(key)
    const token = await getToken(client, { bindings })
    expect(decodeProtectedHeader(token)).toEqual({ alg: algorithm, kid: key.kid, typ: 'at+jwt' })
    await verify(token, createLocalJWKSet(await jwks(bindings)))
    expect((await introspect(client, token, { bindings })).json.active).toBe(true)
  })

  test('a signing key and every other key are published without private members (RFC 7518 §6.2.2, §6.3.2)', async () => {
    const [key, other] = [await newSigningKey(algorithm), await newSigningKey('RS256')]
    // A private key where a public one belongs, pasted by mistake.
    const published = await jwks(keys(key, { ...other, k: 'x' }, { ...key, d: 'x' }))
    expect(published.keys.map(({ kid }) => kid)).toEqual([key.kid, other.kid])
    expect(published.keys.map((entry) => Object.keys(entry).sort())).toEqual([MEMBERS[algorithm], MEMBERS.RS256])
    const text = JSON.stringify(published)
    for (const secret of [key.d, other.d, other.p]) expect(text).not.toContain(secret)
  })

  test('during a rotation to either algorithm, tokens of the old and of the new key are valid', async () => {
    for (const next of ['RS256', 'ES256'] as const) {
      const [before, after] = [await newSigningKey(algorithm), await newSigningKey(next)]
      const [a, b] = [keys(before, publicHalf(after)), keys(after, publicHalf(before))]
      const tokens = [await getToken(client, { bindings: a }), await getToken(client, { bindings: b })]
      for (const token of tokens) {
        for (const bindings of [a, b]) {
          await verify(token, createLocalJWKSet(await jwks(bindings)))
          expect((await introspect(client, token, { bindings })).json.active).toBe(true)
        }
      }
    }
  })
})

describe('a retired signing key', async () => {
  const SKEW_SECONDS = 60
  const MAX_TTL_SECONDS = 86_400
  const [before, after] = [await newSigningKey('ES256'), await newSigningKey('ES256')]
  const retiredAt = Math.floor(Date.now() / 1000) + 1000
  const retired = keys(after, { ...publicHalf(before), retired_at: retiredAt } as JWK)
  const active = async (token: string) => (await introspect(client, token, { bindings: retired })).json.active

  /** A token that the retired key signs, as a thief would, at a time in Unix seconds. */
  async function signedAt(seconds: number): Promise<string> {
    vi.setSystemTime(seconds * 1000)
    return getToken(client, { bindings: keys(before) })
  }

  test('a retired signing key verifies the tokens that it signed before its retirement, until they expire', async () => {
    const token = await signedAt(retiredAt - 1)
    for (const seconds of [retiredAt - 1, retiredAt + TTL_SECONDS - 2]) {
      vi.setSystemTime(seconds * 1000)
      expect(await active(token)).toBe(true)
    }
    vi.setSystemTime((retiredAt + TTL_SECONDS) * 1000)
    expect(await active(token)).toBe(false)
  })

  test('a retired signing key verifies no token that was issued after its retirement, with a tolerance for clock skew', async () => {
    expect(await active(await signedAt(retiredAt + SKEW_SECONDS))).toBe(true)
    expect(await active(await signedAt(retiredAt + SKEW_SECONDS + 1))).toBe(false)
    expect(await active(await signedAt(retiredAt + TTL_SECONDS))).toBe(false)
  })

  test('a retired signing key is published until its last token has expired, with the time of its retirement', async () => {
    const last = retiredAt + MAX_TTL_SECONDS + SKEW_SECONDS
    for (const [seconds, expected] of [
      [retiredAt - 1, [undefined, retiredAt]],
      [last - 1, [undefined, retiredAt]],
      [last, [undefined]],
      [last + MAX_TTL_SECONDS, [undefined]],
    ] as const) {
      vi.setSystemTime(seconds * 1000)
      expect((await jwks(retired)).keys.map(({ retired_at }) => retired_at)).toEqual(expected)
    }
  })

  test('if a rotation is undone, the old key signs again although it is listed as retired', async () => {
    const undone = keys(before, { ...publicHalf(before), retired_at: 1 } as JWK, publicHalf(after))
    const token = await getToken(client, { bindings: undone })
    expect((await introspect(client, token, { bindings: undone })).json.active).toBe(true)
    expect((await jwks(undone)).keys.map(({ kid, retired_at }) => [kid, retired_at])).toEqual([
      [before.kid, undefined],
      [after.kid, undefined],
    ])
  })

  test.each(['1', null, 1.5, '2026-11-01'])(
    'a retired signing key with the invalid retirement time %j causes 500',
    async (retired_at) => {
      const bindings = keys(after, { ...publicHalf(before), retired_at } as unknown as JWK)
      const { status, json } = await requestToken(client, {}, { bindings })
      expect([status, json.error]).toEqual([500, 'server_error'])
    },
  )
})

test('a token whose key is no longer published is inactive, not an error', async () => {
  const [before, after] = [await newSigningKey('ES256'), await newSigningKey('ES256')]
  const token = await getToken(client, { bindings: keys(before) })
  expect((await introspect(client, token, { bindings: keys(after) })).text).toBe('{"active":false}')
})

describe('a rotation of signing keys', () => {
  /** Simulated seconds. */
  const EVERY = 150
  /** On a busy machine. */
  const TIMEOUT_MS = 30_000

  interface Step {
    /** Seconds from the start. */
    readonly at: number
    readonly bindings: Partial<Env>
  }

  /**
   * Issues two tokens every 150 seconds, in the first and in the last of them, and has each verified at once, in the
   * middle of its life and in its last second, by verifiers that keep the published keys for five minutes whatever they
   * meet, each on its own round; and introspected at its end. Counts the verifications, and those that were refused.
   */
  async function simulate(steps: readonly Step[]) {
    const start = Date.now()
    const current = (second: number) => (steps.findLast(({ at }) => at <= second) as Step).bindings
    const published = new Map<Partial<Env>, LocalJWKSet>()
    for (const { bindings } of steps) published.set(bindings, createLocalJWKSet(await jwks(bindings)))
    const result = { verified: 0, lost: 0, introspected: 0, inactive: 0 }

    async function verifyAll(token: string, second: number): Promise<void> {
      vi.setSystemTime(start + second * 1000)
      for (const round of [0, 60, 150, CACHE_SECONDS - 1]) {
        const fetchedAt = Math.max(0, second - ((second - round + CACHE_SECONDS) % CACHE_SECONDS))
        result.verified++
        await verify(token, published.get(current(fetchedAt)) as LocalJWKSet).catch(() => result.lost++)
      }
    }

    for (let second = 0; second <= (steps.at(-1)?.at ?? 0) + CACHE_SECONDS; second++) {
      if (![0, EVERY - 1].includes(second % EVERY)) continue
      vi.setSystemTime(start + second * 1000)
      const token = await getToken(client, { bindings: current(second) })
      for (const age of [0, TTL_SECONDS / 2, TTL_SECONDS - 1]) await verifyAll(token, second + age)
      const { json } = await introspect(client, token, { bindings: current(second + TTL_SECONDS - 1) })
      result.introspected++
      if (!json.active) result.inactive++
    }
    return result
  }

  test.each([
    ['RS256', 'RS256'],
    ['RS256', 'ES256'],
  ] as const)(
    'a rotation from %s to %s causes no failed verification if it waits before the swap and before it removes the old key',
    async (from, to) => {
      const [before, after] = [await newSigningKey(from), await newSigningKey(to)]
      const published = CACHE_SECONDS
      const swapped = published + CACHE_SECONDS
      const result = await simulate([
        { at: 0, bindings: keys(before) },
        { at: published, bindings: keys(before, publicHalf(after)) },
        { at: swapped, bindings: keys(after, publicHalf(before)) },
        { at: swapped + TTL_SECONDS, bindings: keys(after) },
      ])
      expect(result).toMatchObject({ lost: 0, inactive: 0 })
      expect(result.verified).toBeGreaterThan(700)
    },
    TIMEOUT_MS,
  )

  test.each([
    ['if it does not wait for caches before the swap', 1, TTL_SECONDS],
    ['if it does not wait for tokens to expire before the old key is removed', CACHE_SECONDS, TTL_SECONDS / 4],
  ])(
    'in this simulation, a rotation causes failed verifications %s',
    async (_, wait, keep) => {
      const [before, after] = [await newSigningKey('ES256'), await newSigningKey('ES256')]
      const result = await simulate([
        { at: 0, bindings: keys(before) },
        { at: CACHE_SECONDS, bindings: keys(before, publicHalf(after)) },
        { at: CACHE_SECONDS + wait, bindings: keys(after, publicHalf(before)) },
        { at: CACHE_SECONDS + wait + keep, bindings: keys(after) },
      ])
      expect(result.lost).toBeGreaterThan(0)
    },
    TIMEOUT_MS,
  )
})

test('a SIGNING_KEY that cannot sign causes 500', async () => {
  const key = await newSigningKey('RS256')
  const { status, json } = await requestToken(client, {}, { bindings: keys({ ...key, d: 'x' }) })
  expect([status, json.error]).toEqual([500, 'server_error'])
})
