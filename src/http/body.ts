import type { ErrorCode } from './errors.ts'

const BODY_LIMIT_BYTES = 64 * 1024
const JSON_MEDIA_TYPE = /^application\/json\s*(;|$)/i

export interface JsonBody {
  readonly value: unknown
  /** The same JSON for the same value, whatever the order of its keys. */
  readonly canonical: string
}

/**
 * Reads a JSON body. An empty one counts as `{}`, whatever its type says: the SDKs for Go and Ruby send none. The limit
 * is on the bytes that arrive, not on what Content-Length claims.
 */
export async function readJson(request: Request): Promise<JsonBody | ErrorCode> {
  const bytes = await readBytes(request)
  if (typeof bytes === 'string') return bytes
  if (bytes.length === 0) return { value: {}, canonical: '{}' }
  if (!JSON_MEDIA_TYPE.test(request.headers.get('Content-Type') ?? '')) return 'unsupported_media_type'
  if (request.headers.has('Content-Encoding')) return 'unsupported_media_type'
  try {
    const value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes))
    return { value, canonical: JSON.stringify(value, sortKeys) }
  } catch {
    // Not UTF-8, not JSON, or nested too deeply to write again.
    return 'malformed_request'
  }
}

/** The bytes of a body, however they arrive, or what is wrong with them. */
export async function readBytes(request: Request): Promise<Uint8Array | 'payload_too_large' | 'malformed_request'> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of (request.body ?? []) as AsyncIterable<Uint8Array>) {
      length += chunk.length
      if (length > BODY_LIMIT_BYTES) return 'payload_too_large'
      chunks.push(chunk)
    }
  } catch {
    // It broke off.
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

function sortKeys(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
