import { decodeBase62, encodeBase62 } from './base62.ts'
import { crc32 } from './crc32.ts'
import { type Bytes, sha256, utf8 } from './digest.ts'

/**
 * A client secret or an API key, as one string:
 *
 *     cs _ 0 2PqXn…41 more…  a4D5f2
 *     │    │ │               └ checksum: CRC-32 of all before it, 6 base62 digits (62^6 > 2^32)
 *     │    │ └ 32 random bytes, 43 base62 digits (62^43 > 2^256): 256 bits of entropy
 *     │    └ region: the database that knows it, one base62 digit
 *     └ prefix: what it is, for people and scanners
 *
 * The alphabet is [A-Za-z0-9_]: it reads the same raw and percent-encoded in Basic authentication, needs no quotes in a
 * shell, a URL, YAML or .env, and a double click selects it whole.
 */
const SHAPE = /^([A-Za-z0-9_]{1,32})_([0-9A-Za-z])([0-9A-Za-z]{43})[0-9A-Za-z]{6}$/
const ENTROPY_BYTES = 32
const ENTROPY_DIGITS = 43
const CHECKSUM_DIGITS = 6
const HINT_LENGTH = 6

/** The region of everything until there is a second one. */
export const DEFAULT_REGION = '0'

/** What API keys start with. */
export const API_KEY_PREFIX = 'sk'

/** What the dashboard's sessions start with. */
export const SESSION_PREFIX = 'session'

/** What may stand before a credential: 1 to 32 of [A-Za-z0-9_]. */
export const CREDENTIAL_PREFIX = /^[A-Za-z0-9_]{1,32}$/

/** A credential at its birth: the only value that has the plaintext. */
export interface IssuedCredential {
  readonly plaintext: string
  /** SHA-256 of the plaintext, 32 bytes: what is stored. */
  readonly digest: Bytes
  /** The last six characters, by which people tell secrets apart. */
  readonly hint: string
}

/** A string that has the form and the checksum of a credential. Whether it exists, only its digest tells. */
export interface RecognisedCredential {
  readonly prefix: string
  readonly region: string
}

/** Makes a credential from 32 bytes, random ones unless they are given (derived ones, see derivation.ts). */
export async function issueCredential(
  prefix: string,
  region: string,
  entropy: Bytes = crypto.getRandomValues(new Uint8Array(ENTROPY_BYTES)),
): Promise<IssuedCredential> {
  const body = `${prefix}_${region}${encodeBase62(entropy, ENTROPY_DIGITS)}`
  const plaintext = body + checksum(body)
  return { plaintext, digest: await sha256(plaintext), hint: plaintext.slice(-HINT_LENGTH) }
}

/** Reads a credential from its end, whatever its prefix; null for what nobody can have issued. Costs no I/O. */
export function recogniseCredential(text: string): RecognisedCredential | null {
  const match = SHAPE.exec(text)
  if (!match) return null
  const [, prefix, region, entropy] = match as unknown as [string, string, string, string]
  if (decodeBase62(entropy, ENTROPY_BYTES) === null) return null
  if (checksum(text.slice(0, -CHECKSUM_DIGITS)) !== text.slice(-CHECKSUM_DIGITS)) return null
  return { prefix, region }
}

function checksum(body: string): string {
  return encodeBase62(crc32(utf8(body)), CHECKSUM_DIGITS)
}
