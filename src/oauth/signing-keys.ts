import { importJWK, type JWK } from 'jose'
import * as v from 'valibot'
import { PublishedKeysSetting, SigningKeySetting } from '../contract/oauth.ts'
import { type PublishedKey, publicHalf, type SigningAlgorithm } from '../credential/signing-key.ts'
import { MAX_ACCESS_TOKEN_TTL_SECONDS, SettingsError } from '../http/settings.ts'

declare global {
  /**
   * Worker secrets that `npm run signing-key` creates. They are not listed in wrangler.toml, because the first deploy
   * would then ask for them.
   */
  interface Env {
    /** A private JWK with `kid` and `alg`, which signs access tokens. */
    readonly SIGNING_KEY?: string
    /** A JWK Set of the published keys, except the public key of SIGNING_KEY. */
    readonly PUBLISHED_KEYS?: string
  }
}

/** The tolerated difference between the clocks of two machines. */
export const CLOCK_SKEW_SECONDS = 60

export interface SigningKeys {
  readonly algorithm: SigningAlgorithm
  readonly kid: string
  readonly privateKey: CryptoKey
  /** The published keys. The public key of the signing key is the first. */
  readonly published: { readonly keys: PublishedKey[] }
  /** The same keys by `kid`, for verifying tokens. */
  readonly verifying: ReadonlyMap<string, { readonly key: CryptoKey; readonly retiredAt: number }>
}

type Settings = Pick<Env, 'SIGNING_KEY' | 'PUBLISHED_KEYS'>

interface ImportedKeys {
  readonly from: Settings
  readonly keys: Promise<SigningKeys>
}

let imported: ImportedKeys | undefined

/**
 * Returns the keys of this deployment. They are imported once per isolate. Rejects with SettingsError if they are
 * missing or invalid, which /readyz reports.
 */
export function signingKeys(env: Settings): Promise<SigningKeys> {
  const { SIGNING_KEY, PUBLISHED_KEYS } = imported?.from ?? {}
  if (!imported || SIGNING_KEY !== env.SIGNING_KEY || PUBLISHED_KEYS !== env.PUBLISHED_KEYS) {
    imported = { from: env, keys: importKeys(env) }
  }
  return imported.keys
}

/** Returns the keys to publish at `now` (Unix ms). A retired key is omitted when its last token has expired. */
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

/** Imports a key. The runtime's error is replaced, because it may contain members of a private key. */
async function importKey(key: JWK): Promise<CryptoKey> {
  try {
    return (await importJWK(key, key.alg)) as CryptoKey
  } catch {
    throw new SettingsError('SIGNING_KEY or PUBLISHED_KEYS has a damaged key: run `npm run signing-key -- rotate`')
  }
}
