import { join } from 'node:path'
import { calculateJwkThumbprint, importJWK, type JWK } from 'jose'
import * as v from 'valibot'
import { PublishedKeysSetting, SigningKeySetting } from '../contract/oauth.ts'
import { newSigningKey, type PublishedKey, publicHalf, type SigningAlgorithm } from '../credential/signing-key.ts'
import { MAX_ACCESS_TOKEN_TTL_SECONDS } from '../http/settings.ts'
import { Failure, shellWord } from './command.ts'
import { shownPath } from './local-database.ts'
import { createPrivately, readPrivately, writePrivately } from './private-file.ts'

/** The secrets of the Worker for signing: a private key as JWK, and a JWK Set of other keys that it publishes. */
export interface SigningSecrets {
  readonly SIGNING_KEY: string
  readonly PUBLISHED_KEYS: string
}

const Secrets = v.object({ SIGNING_KEY: SigningKeySetting, PUBLISHED_KEYS: PublishedKeysSetting })

/** True if a value is a private key that can sign, with its thumbprint as `kid`. */
export async function isPrivateKey(value: unknown): Promise<boolean> {
  const parsed = v.safeParse(SigningKeySetting, JSON.stringify(value))
  if (!parsed.success) return false
  try {
    const key = parsed.output as JWK
    await importJWK(key, parsed.output.alg)
    return (await calculateJwkThumbprint(key)) === key.kid
  } catch {
    return false
  }
}

const localFile = (directory: string) => join(directory, '.signing-key.json')

/** Reads the secrets that `dev` signs with. Null if there are none. */
export async function readLocalSecrets(directory: string): Promise<SigningSecrets | 'damaged' | null> {
  const text = await readPrivately(localFile(directory))
  if (text === null) return null
  const secrets = v.safeParse(v.pipe(v.string(), v.parseJson(), Secrets), text)
  const isUsable = secrets.success && (await isPrivateKey(secrets.output.SIGNING_KEY))
  return isUsable ? JSON.parse(text) : 'damaged'
}

/** Reads the secrets that `dev` signs with. Throws Failure if the file is damaged. */
export async function requireLocalSecrets(directory: string): Promise<SigningSecrets | null> {
  const secrets = await readLocalSecrets(directory)
  if (secrets !== 'damaged') return secrets
  throw new Failure(
    `${shownPath(localFile(directory))} has no usable signing key. Nothing was changed. Replace it: npm run signing-key -- rotate --persist-to ${shellWord(directory)}`,
  )
}

/** Creates the secrets that `dev` signs with. If another command has created some meanwhile, returns those. */
export async function createLocalSecrets(directory: string, algorithm: SigningAlgorithm): Promise<SigningSecrets> {
  const secrets = secretsOf(await newSigningKey(algorithm), [])
  if (await createPrivately(localFile(directory), JSON.stringify(secrets))) return secrets
  return (await requireLocalSecrets(directory)) ?? secrets
}

/** Replaces the secrets. The keys in `others` stay published. */
export async function replaceLocalSecrets(
  directory: string,
  signingKey: JWK,
  others: readonly PublishedKey[],
): Promise<void> {
  await writePrivately(localFile(directory), JSON.stringify(secretsOf(signingKey, others)))
}

/** The keys that a Worker with these secrets publishes. The first one signs. */
export function publishedBy({ SIGNING_KEY, PUBLISHED_KEYS }: SigningSecrets): PublishedKey[] {
  const own: JWK = publicHalf(JSON.parse(SIGNING_KEY))
  const others: PublishedKey[] = JSON.parse(PUBLISHED_KEYS).keys
  return [own, ...others.filter(({ kid }) => kid !== own.kid)]
}

/** How long the old key may still sign after a rotation, until every location of Cloudflare runs the new version. */
const HANDOVER_SECONDS = 300

/** How far the clocks of two machines may differ. */
const CLOCK_SKEW_SECONDS = 60

/** The old keys that stay published after a rotation, marked as retired. `now` is Unix ms. */
export function retire(published: readonly PublishedKey[], next: JWK, now: number): PublishedKey[] {
  const retiredAt = Math.floor(now / 1000) + HANDOVER_SECONDS
  const others = published.filter(({ kid }) => kid !== next.kid)
  return withoutExpired(
    others.map((key) => ({ ...key, retired_at: key.retired_at ?? retiredAt })),
    now,
  )
}

/** Drops retired keys whose tokens have all expired, even tokens of the maximum lifetime. `now` is Unix ms. */
export function withoutExpired(published: readonly PublishedKey[], now: number): PublishedKey[] {
  const oldest = now / 1000 - MAX_ACCESS_TOKEN_TTL_SECONDS - CLOCK_SKEW_SECONDS
  return published.filter(({ retired_at }) => retired_at === undefined || retired_at > oldest)
}

export function secretsOf(signingKey: JWK, others: readonly PublishedKey[]): SigningSecrets {
  return { SIGNING_KEY: JSON.stringify(signingKey), PUBLISHED_KEYS: keySetOf(others) }
}

/** A JWK Set of public keys. */
export function keySetOf(keys: readonly PublishedKey[]): string {
  return JSON.stringify({ keys: keys.map(publicHalf) })
}
