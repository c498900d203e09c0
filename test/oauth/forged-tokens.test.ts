import { env } from 'cloudflare:workers'
import { base64url, decodeJwt, exportJWK, exportSPKI, generateKeyPair, importJWK, type JWK } from 'jose'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { publicHalf } from '../../src/credential/signing-key.ts'
import fc from '../property.ts'
import { seed, size } from '../sizes.ts'
import { firstPartyApplication, getToken, introspect, newClient, newSecret, revoke } from './client.ts'

fc.configureGlobal({ seed })

/**
 * Forged tokens are inactive, even for a first-party application, which sees all tokens of its environment. Most of them
 * are signed with the real key: only what the row names is wrong.
 */
const client = await newClient()
const asker = await newClient(firstPartyApplication, client)
const token = await getToken(client)
const claims = decodeJwt(token)
const now = claims.iat as number
const other = await newClient(undefined, client)
const elsewhere = await newClient()

const signingKey: JWK = JSON.parse(env.SIGNING_KEY)
const { kid } = signingKey
const HEADER = { alg: 'RS256', kid, typ: 'at+jwt' }
const RS256 = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
const attacker = await generateKeyPair('RS256', { extractable: true })
const attackersJwk = { ...(await exportJWK(attacker.publicKey)), kid, alg: 'RS256', use: 'sig' }

type Sign = (data: Uint8Array<ArrayBuffer>) => Promise<ArrayBuffer>
const bytes = (text: string) => new Uint8Array(new TextEncoder().encode(text))
const signedBy =
  (key: CryptoKey, algorithm: string | SubtleCryptoSignAlgorithm = key.algorithm.name): Sign =>
  (data) =>
    crypto.subtle.sign(algorithm, key, data)
const ours = signedBy(await importPrivate(RS256))
const unsigned: Sign = async () => new ArrayBuffer()

function importPrivate(algorithm: object): Promise<CryptoKey> {
  const { alg: _, use: __, ...members } = signingKey
  return crypto.subtle.importKey('jwk', members as JsonWebKey, algorithm as SubtleCryptoImportKeyAlgorithm, false, [
    'sign',
  ])
}

async function hmacBy(secret: string | Uint8Array): Promise<Sign> {
  const raw = typeof secret === 'string' ? bytes(secret) : new Uint8Array(secret)
  return signedBy(await crypto.subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']))
}

/** Makes a token with any payload and header. */
async function forge(payload: object | string, header: object | string = HEADER, sign = ours): Promise<string> {
  const [head, body] = [header, payload].map((part) =>
    base64url.encode(typeof part === 'string' ? part : JSON.stringify(part)),
  )
  const signature = await sign(bytes(`${head}.${body}`))
  return `${head}.${body}.${base64url.encode(new Uint8Array(signature))}`
}

const verdict = async (forged: string) => (await introspect(asker, forged)).text
const INACTIVE = '{"active":false}'

afterEach(() => vi.useRealTimers())

test('a token that these tests sign with the real key is active if it has no fault', async () => {
  expect(JSON.parse(await verdict(await forge(claims)))).toEqual({ active: true, token_type: 'bearer', ...claims })
  expect(JSON.parse(await verdict(await forge({ ...claims, nbf: now, admin: true }))).admin).toBeUndefined()
})

describe('a token with an invalid claim is inactive (RFC 9068 §4, RFC 7519 §4.1)', () => {
  const { exp, iat, ...timeless } = claims
  const years = 10 * 365 * 86_400
  const raw = (members: string) => `${JSON.stringify(timeless).slice(0, -1)},${members}}`

  test.each<[string, object | string]>([
    ['exp is in the past', { ...claims, exp: now - 1 }],
    ['exp is now', { ...claims, exp: now }],
    ['exp is negative', { ...claims, exp: -1 }],
    ['exp is a string', { ...claims, exp: String(now + 3600) }],
    ['exp is null', { ...claims, exp: null }],
    ['exp is true', { ...claims, exp: true }],
    ['exp is a list', { ...claims, exp: [now + 3600] }],
    ['exp is missing', { ...timeless, iat }],
    ['exp is 1e308', raw(`"iat":${now},"exp":1e308`)],
    ['exp is 1e400', raw(`"iat":${now},"exp":1e400`)],
    ['exp is NaN', raw(`"iat":${now},"exp":NaN`)],
    ['exp is later than that of any token', { ...claims, exp: now + 86_401 }],
    ['exp is ten years away', { ...claims, exp: now + years }],
    ['nbf is in the future', { ...claims, nbf: now + 600 }],
    ['nbf is ten years away', { ...claims, nbf: now + years }],
    ['nbf is a string', { ...claims, nbf: String(now) }],
    ['iat is in the future', { ...claims, iat: now + 600 }],
    ['iat and exp are ten years away', { ...claims, iat: now + years, exp: now + years + 3600 }],
    ['iat is a string', { ...claims, iat: String(now) }],
    ['iat is null', { ...claims, iat: null }],
    ['iat is missing', { ...timeless, exp }],
    ['iss is another issuer', { ...claims, iss: 'https://evil.example' }],
    ['iss has a trailing slash', { ...claims, iss: `${claims.iss}/` }],
    ['iss is a list', { ...claims, iss: [claims.iss] }],
    ['iss is missing', { ...claims, iss: undefined }],
    ['aud is another environment', { ...claims, aud: elsewhere.audience }],
    ['aud is an application', { ...claims, aud: client.clientId }],
    ['aud is a list', { ...claims, aud: [claims.aud] }],
    ['aud is missing', { ...claims, aud: undefined }],
    ['sub is missing', { ...claims, sub: undefined }],
    ['jti is missing', { ...claims, jti: undefined }],
    ['client_id is another application’s', { ...claims, client_id: other.clientId }],
    ['client_id is unknown', { ...claims, client_id: newId('client', 0) }],
    ['client_id is a list', { ...claims, client_id: [claims.client_id] }],
    ['client_id is missing', { ...claims, client_id: undefined }],
    ['secret_id is another application’s', { ...claims, secret_id: other.secretId }],
    ['secret_id is another environment’s', { ...claims, secret_id: elsewhere.secretId }],
    ['secret_id is unknown', { ...claims, secret_id: newId('secret', 0) }],
    ['secret_id is %', { ...claims, secret_id: '%' }],
    ['secret_id is null', { ...claims, secret_id: null }],
    ['secret_id is missing', { ...claims, secret_id: undefined }],
    [
      'client and secret are another environment’s',
      { ...claims, client_id: elsewhere.clientId, secret_id: elsewhere.secretId },
    ],
    ['the claims are a list', [claims]],
    ['the claims are null', 'null'],
    ['the claims are not JSON', `${JSON.stringify(claims)},`],
    ['there are no claims', ''],
  ])('a token with an invalid claim is inactive: %s', async (_, payload) =>
    expect(await verdict(await forge(payload))).toBe(INACTIVE),
  )

  test('a token issued while the clock was ten years ahead is inactive once the clock is right', async () => {
    const real = Date.now()
    vi.setSystemTime(real + years * 1000)
    const early = await getToken(client)
    expect(JSON.parse(await verdict(early)).active).toBe(true)
    vi.setSystemTime(real)
    expect(await verdict(early)).toBe(INACTIVE)
  })
})

describe('a token with an invalid header is inactive (RFC 8725 §3)', async () => {
  const spki = await exportSPKI((await importJWK(publicHalf(signingKey), 'RS256')) as CryptoKey)
  const jwk = JSON.stringify(publicHalf(signingKey))
  const n = base64url.decode(signingKey.n as string)
  const pss = signedBy(await importPrivate({ name: 'RSA-PSS', hash: 'SHA-256' }), { name: 'RSA-PSS', saltLength: 32 })
  const rs384 = signedBy(await importPrivate({ ...RS256, hash: 'SHA-384' }))
  const theirs = signedBy(attacker.privateKey)
  const jwks = `data:application/json,${JSON.stringify({ keys: [attackersJwk] })}`

  test.each<[string, object, Sign]>([
    ...['none', 'None', 'NONE', 'nOnE', '', ' none'].flatMap<[string, object, Sign]>((alg) => [
      [`alg is ${alg}, without a signature (CVE-2015-9235)`, { ...HEADER, alg }, unsigned],
      [`alg is ${alg}, with a good signature`, { ...HEADER, alg }, ours],
    ]),
    ['no alg', { kid, typ: 'at+jwt' }, ours],
    ['alg is a list', { ...HEADER, alg: ['RS256'] }, ours],
    ['alg is rs256', { ...HEADER, alg: 'rs256' }, ours],
    ['alg is ES256, with an RS256 signature', { ...HEADER, alg: 'ES256' }, ours],
    ['RS384', { ...HEADER, alg: 'RS384' }, rs384],
    ['PS256', { ...HEADER, alg: 'PS256' }, pss],
    ['a PS256 signature, called RS256', HEADER, pss],
    ['HS256 by the public key, PEM (CVE-2016-5431)', { ...HEADER, alg: 'HS256' }, await hmacBy(spki)],
    [
      'HS256 by the public key, PEM without its last line break',
      { ...HEADER, alg: 'HS256' },
      await hmacBy(spki.trim()),
    ],
    ['HS256 by the public key, JWK', { ...HEADER, alg: 'HS256' }, await hmacBy(jwk)],
    ['HS256 by the modulus', { ...HEADER, alg: 'HS256' }, await hmacBy(n)],
    ['HS256 by the modulus as text', { ...HEADER, alg: 'HS256' }, await hmacBy(signingKey.n as string)],
    ['HS256 by the modulus, called RS256', HEADER, await hmacBy(n)],
    ['a key of an attacker', HEADER, theirs],
    ['a key of an attacker, in jwk', { ...HEADER, jwk: attackersJwk }, theirs],
    ['a key of an attacker, in jwk, without kid', { alg: 'RS256', typ: 'at+jwt', jwk: attackersJwk }, theirs],
    ['a key of an attacker, in jku', { ...HEADER, jku: jwks }, theirs],
    ['a key of an attacker, in x5u', { ...HEADER, x5u: 'https://evil.example/key.pem' }, theirs],
    ['a key of an attacker, in x5c', { ...HEADER, x5c: [attackersJwk.n] }, theirs],
    ...[
      'unknown',
      '',
      '../../../../dev/null',
      '/dev/null',
      "' OR 1=1--",
      `${kid}\0`,
      kid?.toLowerCase(),
      'x'.repeat(40_000),
    ].map<[string, object, Sign]>((name) => [`kid is ${name?.slice(0, 30)}`, { ...HEADER, kid: name }, ours]),
    ['kid is null', { ...HEADER, kid: null }, ours],
    ['kid is a number', { ...HEADER, kid: 0 }, ours],
    ['kid is a list', { ...HEADER, kid: [kid] }, ours],
    ['kid is an object', { ...HEADER, kid: { toString: kid } }, ours],
    ['an unknown extension is critical (RFC 7515 §4.1.11)', { ...HEADER, crit: ['x'], x: 1 }, ours],
    ['a claim is critical', { ...HEADER, crit: ['exp'], exp: 1 }, ours],
    ['crit is empty', { ...HEADER, crit: [] }, ours],
    ['crit names a missing parameter', { ...HEADER, crit: ['b64'] }, ours],
    ['the payload is not encoded (RFC 7797 §6)', { ...HEADER, crit: ['b64'], b64: false }, ours],
    ['typ is JWT', { ...HEADER, typ: 'JWT' }, ours],
    ['typ is id+jwt', { ...HEADER, typ: 'id+jwt' }, ours],
    ['typ is missing', { alg: 'RS256', kid }, ours],
    ['typ is null', { ...HEADER, typ: null }, ours],
  ])('a token with an invalid header is inactive: %s', async (_, header, sign) =>
    expect(await verdict(await forge(claims, header, sign))).toBe(INACTIVE),
  )

  test('a token whose header is not a JSON object is inactive', async () => {
    for (const header of ['', 'null', '[]', '"x"', `${JSON.stringify(HEADER)}x`])
      expect(await verdict(await forge(claims, header)), header).toBe(INACTIVE)
  })
})

describe('a token that was changed is inactive', async () => {
  const [header = '', payload = '', signature = ''] = token.split('.')
  const signed = base64url.decode(signature)
  const inStandardBase64 = (part: string) => part.replaceAll('-', '+').replaceAll('_', '/')

  test.each<[string, string]>([
    ['garbage', 'garbage'],
    ['dots', '...'],
    ['no signature', `${header}.${payload}.`],
    ['no signature, no dot', `${header}.${payload}`],
    ['no payload', `${header}..${signature}`],
    ['no header', `.${payload}.${signature}`],
    ['a part too many', `${token}.${signature}`],
    ['two parts too many, as in a JWE', `${header}.${payload}.${signature}.${payload}.${signature}`],
    ['the JSON serialization', JSON.stringify({ payload, signatures: [{ protected: header, signature }] })],
    ['the flattened JSON serialization', JSON.stringify({ protected: header, payload, signature })],
    ['the signature of another token', `${header}.${payload}.${(await getToken(client)).split('.')[2]}`],
    ['the payload of another token', `${header}.${(await getToken(client)).split('.')[1]}.${signature}`],
    ['a byte of zero before the signature', `${header}.${payload}.${base64url.encode(new Uint8Array([0, ...signed]))}`],
    ['a byte of zero behind the signature', `${header}.${payload}.${base64url.encode(new Uint8Array([...signed, 0]))}`],
    ['a signature of zeros', `${header}.${payload}.${base64url.encode(new Uint8Array(256))}`],
    ['Bearer before the token', `Bearer ${token}`],
    ['its secret instead of the token', client.secret],
    ['its jti instead of the token', String(claims.jti)],
    ['a token of 60 KB', `${token}${'A'.repeat(60_000)}`],
    ['the payload in standard base64, with a slash', `${header}.${inStandardBase64(payload)}/.${signature}`],
  ])('a changed token is inactive: %s', async (_, changed) => expect(await verdict(changed)).toBe(INACTIVE))

  test('a token that is changed in any bit of its signature is inactive', async () => {
    const anyBit = fc.integer({ min: 0, max: signed.length * 8 - 1 })
    await fc.assert(
      fc.asyncProperty(anyBit, async (bit) => {
        const flipped = signed.map((byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte))
        expect(await verdict(`${header}.${payload}.${base64url.encode(flipped)}`)).toBe(INACTIVE)
      }),
      { numRuns: size(60, 1_000) },
    )
  })

  test('a token that is cut off at any position is inactive', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: token.length - 1 }), async (length) => {
        expect(await verdict(token.slice(0, length))).toBe(INACTIVE)
      }),
      { numRuns: size(60, 1_000) },
    )
  })
})

test('a token with other unused bits in its last symbol gets the same response as the original token', async () => {
  const spelt = await newSecret(client)
  const live = await getToken(spelt)
  // 256 bytes are 342 symbols: of the last one, four bits mean nothing (RFC 4648 §3.5).
  const symbols = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = symbols.indexOf(live.slice(-1))
  expect(last & 15).toBe(0)
  const spellings = Array.from({ length: 16 }, (_, bits) => live.slice(0, -1) + symbols.charAt(last | bits))
  const active = await verdict(live)
  expect(JSON.parse(active).jti).toBe(decodeJwt(live).jti)
  for (const spelling of spellings) expect(await verdict(spelling)).toBe(active)
  await revoke(spelt)
  for (const spelling of spellings) expect(await verdict(spelling)).toBe(INACTIVE)
})
