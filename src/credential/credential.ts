import { encodeBase62 } from './base62.ts'
import { crc32 } from './crc32.ts'
import { type Bytes, sha256 } from './digest.ts'

/**
 * A client secret, an API key or a session, as one string:
 *
 *     cs _ 0 2PqXn…41 more…  a4D5f2
 *     │    │ │               └ checksum, 6 base62 digits (62^6 > 2^32)
 *     │    │ └ 32 random bytes, 43 base62 digits (62^43 > 2^256): 256 bits of entropy
 *     │    └ region: the database that has it, one base62 digit
 *     └ prefix: the kind, for people and scanners
 *
 * The alphabet is [A-Za-z0-9_]: a credential reads the same raw and percent-encoded in Basic authentication, needs no
 * quotes in a shell, a URL, YAML or .env, and a double click selects it whole.
 *
 * Secret scanners find the default prefixes by `\b(?:cs|sk|session)_[0-9A-Za-z]{50}\b`, and rule out other text by the
 * checksum: the CRC-32 (ISO-HDLC, as in zlib) of all characters before the last six, as an unsigned number in base62
 * with the digits 0-9, A-Z, a-z, padded with zeros to six digits. A prefix is 1 to 32 characters of [A-Za-z0-9_].
 */
const SHAPE = /^([A-Za-z0-9_]{1,32})_([0-9A-Za-z])([0-9A-Za-z]{43})[0-9A-Za-z]{6}$/
const ENTROPY_BYTES = 32
const ENTROPY_DIGITS = 43
const CHECKSUM_DIGITS = 6
const HINT_LENGTH = 6
const MAX_LENGTH = 83

/** 2^256 - 1. Digits are in ASCII order, so that numbers compare as text. */
const MAX_ENTROPY = 'yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1'

/** The region of a deployment that has only one. */
export const DEFAULT_REGION = '0'

/** The prefix of API keys. */
export const API_KEY_PREFIX = 'sk'

/** The prefix of the dashboard's sessions. */
export const SESSION_PREFIX = 'session'

/** The prefix of the secrets that sign webhooks, as in WorkOS. */
export const SIGNING_SECRET_PREFIX = 'whsec'

/** The prefixes that a credential may have. */
export const CREDENTIAL_PREFIX = /^[A-Za-z0-9_]{1,32}$/

/** A new credential. Only this value has the plaintext. */
export interface IssuedCredential {
  readonly plaintext: string
  /** SHA-256 of the plaintext, which is stored in its place. */
  readonly digest: Bytes
  /** The last six characters, by which people tell secrets apart. */
  readonly hint: string
}

/** A string with the form and the checksum of a credential. The database knows by its digest whether it exists. */
export interface RecognisedCredential {
  readonly prefix: string
  readonly region: string
}

/** Makes a credential from 32 bytes: random ones, or those that derivation.ts derives. */
export async function issueCredential(
  prefix: string,
  region: string,
  entropy: Bytes = crypto.getRandomValues(new Uint8Array(ENTROPY_BYTES)),
): Promise<IssuedCredential> {
  const body = `${prefix}_${region}${encodeBase62(entropy, ENTROPY_DIGITS)}`
  const plaintext = body + checksum(body)
  return { plaintext, digest: await sha256(plaintext), hint: plaintext.slice(-HINT_LENGTH) }
}

/**
 * Reads a credential with any prefix; null for a string that Oncekey cannot have issued. Costs no I/O and no
 * cryptography.
 */
export function recogniseCredential(text: string): RecognisedCredential | null {
  const match = SHAPE.exec(text)
  if (!match) return null
  const [, prefix, region, entropy] = match as unknown as [string, string, string, string]
  if (entropy > MAX_ENTROPY) return null
  if (checksum(text.slice(0, -CHECKSUM_DIGITS)) !== text.slice(-CHECKSUM_DIGITS)) return null
  return { prefix, region }
}

function checksum(body: string): string {
  return encodeBase62(crc32(body), CHECKSUM_DIGITS)
}

/**
 * Whether a text may contain a credential or most of one: without its prefix or checksum it can still be completed. Ids
 * have at most 26 alphanumerics in a row. For everything that repeats what a caller sent.
 */
export function mayContainCredential(text: string): boolean {
  return /[0-9A-Za-z]{40}/.test(text)
}

/** True if a text contains a whole credential, also in the percent encoding of URLs. Checks text before it is stored. */
export function containsCredential(text: string): boolean {
  // `%25` is the percent sign of an inner encoding. One pass undoes all of them, so that the work grows with the length.
  const decoded = text.replace(/%(?:25)*([0-7][0-9A-Fa-f])/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return hasCredential(text) || (decoded !== text && hasCredential(decoded))
}

function hasCredential(text: string): boolean {
  for (const { index } of text.matchAll(/(?<=[0-9A-Za-z_]_)(?=[0-9A-Za-z]{50})/g)) {
    for (let start = Math.max(0, index - MAX_LENGTH + 50); start < index - 1; start++) {
      if (recogniseCredential(text.slice(start, index + 50))) return true
    }
  }
  return false
}
