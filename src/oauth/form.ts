import { readBytes } from '../http/body.ts'
import { ApiError } from '../http/errors.ts'

const FORM_MEDIA_TYPE = /^application\/x-www-form-urlencoded\s*(;|$)/i

/** The parameters of a request, each at most once. The URL's query is never among them (RFC 6749 §2.3.1). */
export type Form = ReadonlyMap<string, string>

/**
 * Reads a form-encoded body (RFC 6749 Appendix B). A parameter without a value counts as left out, and none stands twice
 * (§3.2). Client authentication takes care of `client_secret` itself, where an empty one means something.
 */
export async function readForm(request: Request): Promise<Form> {
  const bytes = await readBytes(request)
  if (bytes === 'malformed_request') throw new ApiError('invalid_request', { message: 'The body breaks off.' })
  if (typeof bytes === 'string') throw new ApiError(bytes)
  if (request.headers.has('Content-Encoding')) {
    throw new ApiError('unsupported_media_type', { message: 'Send the body without a Content-Encoding.' })
  }
  if (bytes.length > 0 && !FORM_MEDIA_TYPE.test(request.headers.get('Content-Type') ?? '')) {
    throw new ApiError('invalid_request', { message: 'Send the parameters as application/x-www-form-urlencoded.' })
  }
  const form = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(decode(bytes))) {
    if (form.has(name)) throw new ApiError('invalid_request', { message: 'A parameter is repeated.' })
    form.set(name, value)
  }
  return form
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new ApiError('invalid_request', { message: 'The body is not UTF-8.' })
  }
}
