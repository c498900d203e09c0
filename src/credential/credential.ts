import { encodeBase62 } from './base62.ts'
import { crc32 } from './crc32.ts'
import { type Bytes, sha256 } from './digest.ts'

/**
 * The format of a client secret, an API key or a session credential:
 *
 *     cs _ 0 2PqXn…41 more…  a4D5f2
 *     │    │ │               └ checksum, 6 base62 digits (62^6 > 2^32)
 *     │    │ └ 32 random bytes, 43 base62 digits (62^43 > 2^256): 256 bits of entropy
 *     │    └ region: identifies the database, one base62 digit
 *     └ prefix: shows people and scanners the kind of credential
 *
 * The alphabet is [A-Za-z0-9_]. Percent-encoding does not change a credential, so Basic authentication works whether or
 * not a client encodes it. A credential needs no quotes in a shell, a URL, YAML or .env, and a double click selects all
 * of it.
 *
 * Secret scanners find credentials with the default prefixes by `\b(?:cs|sk|session|whsec)_[0-9A-Za-z]{50}\b`. The
 * checksum excludes other text. It is the CRC-32 (ISO-HDLC, as in zlib) of all characters before the last six, as an
 * unsigned number in base62 with the digits 0-9, A-Z, a-z, padded with zeros to six digits. A prefix has 1 to 32
 * characters of [A-Za-z0-9_].
 */
const SHAPE = /^([A-Za-z0-9_]{1,32})_([0-9A-Za-z])([0-9A-Za-z]{43})[0-9A-Za-z]{6}$/
const ENTROPY_BYTES = 32
const ENTROPY_DIGITS = 43
const CHECKSUM_DIGITS = 6
const HINT_LENGTH = 6
const MAX_LENGTH = 83

/** 2^256 - 1 in base62. The digits are in ASCII order, so numbers of the same length can be compared as text. */
const MAX_ENTROPY = 'yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1'

/** The region of a deployment with only one region. */
export const DEFAULT_REGION = '0'

/** The prefix of API keys. */
export const API_KEY_PREFIX = 'sk'

/** The prefix of the dashboard's sessions. */
export const SESSION_PREFIX = 'session'

/** The prefix of the secrets that sign webhooks, as in WorkOS. */
export const SIGNING_SECRET_PREFIX = 'whsec'

/** The prefixes that a credential may have. */
export const CREDENTIAL_PREFIX = /^[A-Za-z0-9_]{1,32}$/

/** A new credential. The database does not store the plaintext, except that of a webhook signing secret. */
export interface IssuedCredential {
  readonly plaintext: string
  /** SHA-256 of the plaintext. The digest is stored instead of the plaintext. */
  readonly digest: Bytes
  /** The last six characters. They help people to distinguish secrets. */
  readonly hint: string
}

/**
 * The parts of a well-formed credential with a valid checksum. Only the database knows whether the credential exists.
 */
export interface RecognisedCredential {
  readonly prefix: string
  readonly region: string
}

/** Creates a credential from 32 bytes, which are random or derived (derivation.ts). */
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
 * Parses a credential with any prefix. Returns null if Oncekey cannot have issued the text. It needs no I/O and no
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
 * Returns true if a text may contain a credential. The prefix and the checksum are not required, because anyone who has
 * the rest can add them. IDs have at most 26 alphanumeric characters in a row. Use this before the Worker repeats text
 * that a caller sent.
 */
export function mayContainCredential(text: string): boolean {
  return /[0-9A-Za-z]{40}/.test(text)
}

/**
 * Returns true if a text contains a complete credential, also if it is percent-encoded. Use this before text is stored.
 */
export function containsCredential(text: string): boolean {
  // If text is encoded several times, each `%` becomes `%25`. One pass decodes all levels, so the run time is linear in
  // the length.
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
