import { isEncoded, readBytes } from '../http/body.ts'
import { ApiError } from '../http/errors.ts'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const FORM_MEDIA_TYPE = /^application\/x-www-form-urlencoded\s*(;|$)/i

/** The parameters that authenticate the client (RFC 6749 §2.3.1, RFC 7521 §4.2). */
const CLIENT_PARAMETERS = ['client_id', 'client_secret', 'client_assertion', 'client_assertion_type']

/** The parameters in the body that the endpoint knows and that have a value. The query string is not read. */
export type Form = ReadonlyMap<string, string>

/**
 * Reads a form-encoded body (RFC 6749 Appendix B). By §3.2, parameters without a value are treated as omitted, and
 * unknown parameters are ignored, even if they are repeated (RFC 8707 §2 repeats `resource`). A repeated known
 * parameter is an error.
 */
export async function readForm(request: Request, ...parameters: string[]): Promise<Form> {
  const bytes = await readBytes(request)
  if (bytes === 'malformed_request') throw new ApiError('invalid_request', { message: 'The body is incomplete.' })
  if (typeof bytes === 'string') throw new ApiError(bytes)
  if (isEncoded(request)) {
    throw new ApiError('unsupported_media_type', { message: 'Send the body without a Content-Encoding.' })
  }
  if (bytes.length > 0 && !FORM_MEDIA_TYPE.test(request.headers.get('Content-Type') ?? '')) {
    throw new ApiError('invalid_request', { message: 'Send the parameters as application/x-www-form-urlencoded.' })
  }
  const form = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(decode(bytes))) {
    if (value === '' || !(parameters.includes(name) || CLIENT_PARAMETERS.includes(name))) continue
    if (form.has(name)) throw new ApiError('invalid_request', { message: `The parameter ${name} is repeated.` })
    form.set(name, value)
  }
  return form
}

function decode(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new ApiError('invalid_request', { message: 'The body is not UTF-8.' })
  }
}
