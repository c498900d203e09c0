import { publicHalf } from '../../../src/credential/signing-key.ts'
import type { FloorEnv } from './env.ts'

/** A signature and its check, by WebCrypto alone. */
interface Keys {
  readonly header: string
  readonly algorithm: { readonly name: string; readonly hash?: string }
  readonly sign: CryptoKey
  readonly verify: CryptoKey
}

const ALGORITHMS = {
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  ES256: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
} as const

const encoder = new TextEncoder()
let keys: Promise<Keys> | undefined

export async function signToken(env: FloorEnv, claims: object): Promise<string> {
  keys ??= importKeys(env)
  const { header, algorithm, sign } = await keys
  const signed = `${header}.${base64url(encoder.encode(JSON.stringify(claims)))}`
  const signature = await crypto.subtle.sign(algorithm, sign, encoder.encode(signed))
  return `${signed}.${base64url(new Uint8Array(signature))}`
}

/** The claims of a token with a good signature. */
export async function readToken(env: FloorEnv, token: string): Promise<Record<string, unknown> | null> {
  keys ??= importKeys(env)
  const { algorithm, verify } = await keys
  const [header = '', payload = '', signature = ''] = token.split('.')
  const isGood = await crypto.subtle.verify(
    algorithm,
    verify,
    fromBase64url(signature),
    encoder.encode(`${header}.${payload}`),
  )
  return isGood ? JSON.parse(new TextDecoder().decode(fromBase64url(payload))) : null
}

async function importKeys(env: FloorEnv): Promise<Keys> {
  const key = JSON.parse(env.SIGNING_KEY)
  const algorithm = ALGORITHMS[key.alg as keyof typeof ALGORITHMS]
  const header = { alg: key.alg, kid: key.kid, typ: 'at+jwt' }
  return {
    header: base64url(encoder.encode(JSON.stringify(header))),
    algorithm,
    sign: await crypto.subtle.importKey('jwk', key, algorithm, false, ['sign']),
    verify: await crypto.subtle.importKey('jwk', publicHalf(key) as JsonWebKey, algorithm, false, ['verify']),
  }
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}

function fromBase64url(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0))
}
