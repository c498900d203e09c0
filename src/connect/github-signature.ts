import * as v from 'valibot'
import type { Bytes } from '../credential/digest.ts'
import { ApiError } from '../http/errors.ts'

/**
 * Verifies signatures of GitHub's secret scanning partner program: ECDSA with P-256 and SHA-256, over the raw body.
 * https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partnership-program/secret-scanning-partner-program
 */

const PublicKeys = v.object({
  public_keys: v.array(v.object({ key_identifier: v.string(), key: v.string() })),
})

/** How long the list of public keys is cached. GitHub rarely changes a key, and limits the requests for the list. */
const KEPT_MS = 24 * 60 * 60_000
/** Minimum time between two requests for the list while it lacks a key, for example because the last request failed. */
const RETRY_MS = 60_000
const TIMEOUT_MS = 5_000

interface Kept {
  readonly at: number
  /**
   * PEM keys by identifier. If the list cannot be fetched again, the earlier list is kept. Otherwise a report with an
   * unknown identifier, which causes a new fetch, could make GitHub's own reports fail.
   */
  readonly keys: ReadonlyMap<string, string>
  readonly hasFailed: boolean
}

/** The cached list of keys by its URL, in this isolate. */
const kept = new Map<string, Kept>()

/** Returns true if GitHub has signed the body. Throws 503 if the public keys cannot be fetched. */
export async function isSignedByGitHub(
  url: string,
  body: Bytes,
  identifier: string | undefined,
  signature: string | undefined,
): Promise<boolean> {
  if (url === '' || !identifier || !signature) return false
  const raw = rawSignature(fromBase64(signature))
  if (!raw) return false
  const pem = (await readKeys(url, identifier)).get(identifier)
  if (pem === undefined) return false
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const der = fromBase64(pem.replaceAll(/-----[A-Z ]+-----|\s/g, ''))
  const key = await crypto.subtle.importKey('spki', der, algorithm, false, ['verify']).catch(() => null)
  return key !== null && crypto.subtle.verify(algorithm, key, raw, body)
}

async function readKeys(url: string, identifier: string): Promise<ReadonlyMap<string, string>> {
  const now = Date.now()
  let found = kept.get(url)
  if (!found || now - found.at > (found.keys.has(identifier) ? KEPT_MS : RETRY_MS)) {
    const keys = await fetchKeys(url)
    found = { at: now, keys: keys ?? found?.keys ?? new Map(), hasFailed: keys === null }
    kept.set(url, found)
  }
  if (!found.hasFailed || found.keys.has(identifier)) return found.keys
  const message =
    'The public keys of GitHub could not be read, so the signature is not checked. Nothing was read. Try again.'
  throw new ApiError('service_unavailable', { message, retryAfter: RETRY_MS / 1000 })
}

async function fetchKeys(url: string): Promise<ReadonlyMap<string, string> | null> {
  try {
    const response = await fetch(url, {
      headers: { Accept: 'application/json', 'User-Agent': 'Oncekey' },
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    if (!response.ok) throw new Error(`status ${response.status}`)
    const { public_keys } = v.parse(PublicKeys, await response.json())
    return new Map(public_keys.map(({ key_identifier, key }) => [key_identifier, key]))
  } catch (error) {
    console.error({ message: 'public keys of GitHub not read', error: String(error) })
    return null
  }
}

function fromBase64(text: string): Bytes {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
  } catch {
    return new Uint8Array()
  }
}

const SEQUENCE = 0x30
const INTEGER = 0x02
const NUMBER_BYTES = 32

/**
 * Converts a signature from DER (a SEQUENCE of two INTEGERs) to the 64 bytes that WebCrypto expects. Returns null if it
 * is malformed.
 */
function rawSignature(der: Bytes): Bytes | null {
  if (der[0] !== SEQUENCE || der[1] !== der.length - 2) return null
  const raw = new Uint8Array(2 * NUMBER_BYTES)
  let at = 2
  for (const end of [NUMBER_BYTES, 2 * NUMBER_BYTES]) {
    const length = der[at + 1]
    if (der[at] !== INTEGER || !length || at + 2 + length > der.length) return null
    const digits = der.subarray(at + 2, at + 2 + length)
    // DER adds a leading zero byte if the number would otherwise be negative.
    const number = digits[0] === 0 ? digits.subarray(1) : digits
    if (number.length > NUMBER_BYTES) return null
    raw.set(number, end - number.length)
    at += 2 + length
  }
  return at === der.length ? raw : null
}
