import type { Bytes } from '../credential/digest.ts'
import type { ErrorCode } from './errors.ts'

const MAX_BODY_BYTES = 64 * 1024
/** Maximum nesting depth of JSON: more than any client needs, and far below the limit of the stack. */
const MAX_DEPTH = 512
const JSON_MEDIA_TYPE = /^application\/json\s*(;|$)/i

type BodyError = Extract<ErrorCode, 'payload_too_large' | 'malformed_request' | 'unsupported_media_type'>

/** Reads a JSON body. An empty one counts as `{}`, whatever its media type: the SDKs for Go and Ruby send none. */
export async function readJson(
  request: Request,
): Promise<{ readonly value: unknown; readonly bytes: Bytes } | BodyError> {
  const bytes = await readBytes(request)
  if (typeof bytes === 'string') return bytes
  if (bytes.length === 0) return { value: {}, bytes }
  if (!JSON_MEDIA_TYPE.test(request.headers.get('Content-Type') ?? '')) return 'unsupported_media_type'
  if (isEncoded(request)) return 'unsupported_media_type'
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes)
    return isTooDeep(text) ? 'malformed_request' : { value: JSON.parse(text), bytes }
  } catch {
    // The body is not UTF-8, or not JSON.
    return 'malformed_request'
  }
}

/** Reads a body of at most 64 KiB. The limit is on the bytes that arrive, not on what Content-Length claims. */
export async function readBytes(request: Request): Promise<Bytes | 'payload_too_large' | 'malformed_request'> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    // No more than the announced length arrives. Reading it at once costs a quarter of reading it in chunks.
    if (Number(request.headers.get('Content-Length') ?? Number.POSITIVE_INFINITY) <= MAX_BODY_BYTES) {
      const bytes = new Uint8Array(await request.arrayBuffer())
      return bytes.length > MAX_BODY_BYTES ? 'payload_too_large' : bytes
    }
    for await (const chunk of (request.body ?? []) as AsyncIterable<Uint8Array>) {
      length += chunk.length
      if (length > MAX_BODY_BYTES) return 'payload_too_large'
      chunks.push(chunk)
    }
  } catch {
    // The connection broke.
    return 'malformed_request'
  }
  const bytes = new Uint8Array(length)
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk, offset)
    offset += chunk.length
  }
  return bytes
}

/** True if a body is compressed. `identity` means that it is not (RFC 9110 §8.4.1). */
export function isEncoded(request: Request): boolean {
  return !/^(identity)?$/i.test(request.headers.get('Content-Encoding') ?? '')
}

/** Returns the same text for equal values, whatever the order of their keys. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) => {
    if (typeof member !== 'object' || member === null || Array.isArray(member)) return member
    return Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}

/**
 * Checks the depth before JSON.parse builds objects. It may miscount brackets in malformed JSON, which is refused
 * anyway.
 */
function isTooDeep(text: string): boolean {
  let depth = 0
  let isInString = false
  for (let i = 0; i < text.length; i++) {
    const character = text[i]
    if (isInString && character === '\\') i++
    else if (character === '"') isInString = !isInString
    else if (isInString) continue
    else if (character === '[' || character === '{') depth++
    else if (character === ']' || character === '}') depth--
    if (depth > MAX_DEPTH) return true
  }
  return false
}
