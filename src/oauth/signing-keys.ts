import { importJWK, type JWK } from 'jose'
import * as v from 'valibot'
import { PublishedKeysSetting, SigningKeySetting } from '../contract/oauth.ts'
import { type PublishedKey, publicHalf, type SigningAlgorithm } from '../credential/signing-key.ts'
import { MAX_ACCESS_TOKEN_TTL_SECONDS, SettingsError } from '../http/settings.ts'

declare global {
  /** Worker secrets, made by `npm run signing-key`. In wrangler.toml a first deploy would ask for them. */
  interface Env {
    /** A private JWK with `kid` and `alg`. It signs access tokens. */
    readonly SIGNING_KEY?: string
    /** A JWK Set of the keys that are published besides the signing key's own. */
    readonly PUBLISHED_KEYS?: string
  }
}

/** How far the clocks of two machines may differ. */
export const CLOCK_SKEW_SECONDS = 60

export interface SigningKeys {
  readonly algorithm: SigningAlgorithm
  readonly kid: string
  readonly privateKey: CryptoKey
  /** The public keys, with that of the signing key first. */
  readonly published: { readonly keys: PublishedKey[] }
  /** The same keys by `kid`, to verify tokens with. */
  readonly verifying: ReadonlyMap<string, { readonly key: CryptoKey; readonly retiredAt: number }>
}

type Settings = Pick<Env, 'SIGNING_KEY' | 'PUBLISHED_KEYS'>

let imported: { readonly from: Settings; readonly keys: Promise<SigningKeys> } | undefined

/**
 * The keys of this deployment, imported once per isolate. Rejects if they are missing or invalid, as /readyz reports.
 */
export function signingKeys(env: Settings): Promise<SigningKeys> {
  const { SIGNING_KEY, PUBLISHED_KEYS } = imported?.from ?? {}
  if (!imported || SIGNING_KEY !== env.SIGNING_KEY || PUBLISHED_KEYS !== env.PUBLISHED_KEYS) {
    imported = { from: env, keys: importKeys(env) }
  }
  return imported.keys
}

/** The keys to publish at `now` (Unix ms). A retired key is dropped when its last token has expired. */
export function publishedAt({ published }: SigningKeys, now: number): { keys: PublishedKey[] } {
  const oldest = now / 1000 - MAX_ACCESS_TOKEN_TTL_SECONDS - CLOCK_SKEW_SECONDS
  return { keys: published.keys.filter(({ retired_at = Infinity }) => retired_at > oldest) }
}

async function importKeys({ SIGNING_KEY, PUBLISHED_KEYS }: Settings): Promise<SigningKeys> {
  const own = v.safeParse(SigningKeySetting, SIGNING_KEY)
  const others = v.safeParse(PublishedKeysSetting, PUBLISHED_KEYS)
  if (!own.success)
    throw new SettingsError('SIGNING_KEY is missing or not a private JWK: run `npm run signing-key -- create`')
  if (!others.success) throw new SettingsError('PUBLISHED_KEYS is not a JWK Set: run `npm run signing-key -- status`')
  const { kid, alg: algorithm } = own.output
  const keys = [own.output, ...others.output.keys.filter((key) => key.kid !== kid)].map((key) => publicHalf(key as JWK))
  const [privateKey, ...publicKeys] = await Promise.all([own.output, ...keys].map(importKey))
  const verifying = keys.map((jwk, i) => {
    return [`${jwk.kid}`, { key: publicKeys[i] as CryptoKey, retiredAt: jwk.retired_at ?? Infinity }] as const
  })
  return { algorithm, kid, privateKey: privateKey as CryptoKey, published: { keys }, verifying: new Map(verifying) }
}

/** The error of the runtime may repeat members of a private key. */
async function importKey(key: JWK): Promise<CryptoKey> {
  try {
    return (await importJWK(key, key.alg)) as CryptoKey
  } catch {
    throw new SettingsError('SIGNING_KEY or PUBLISHED_KEYS has a damaged key: run `npm run signing-key -- rotate`')
  }
}
