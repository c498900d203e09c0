/** The rules that every response keeps, whatever the request was. */

export interface FuzzResponse {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** Credentials that a response must not repeat. */
export interface Secrets {
  /** The API keys, the session, and the client secrets that were shown before. */
  readonly known: readonly string[]
  /** The credential that this request carried in some place. */
  readonly canary: string
}

const STATUSES = [200, 201, 204, 303, 304, 308, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429]
const REQUEST_ID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/

/** A sentence for each rule that the response breaks. */
export function judge(path: string, { status, headers, text }: FuzzResponse, { known, canary }: Secrets): string[] {
  const problems: string[] = []
  const require = (holds: boolean, sentence: string) => holds || problems.push(sentence)
  const isRefused = status >= 400
  const everything = `${text}\n${[...headers].map((header) => header.join(': ')).join('\n')}`

  require(STATUSES.includes(status), `the status is ${status}`)
  require(REQUEST_ID.test(headers.get('X-Request-ID') ?? ''), 'it has no request ID')
  require(headers.get('X-Content-Type-Options') === 'nosniff', 'X-Content-Type-Options is not nosniff')
  require(headers.has('Cache-Control') && headers.has('Content-Security-Policy'), 'it has no caching or content policy')
  for (const secret of known) require(!everything.includes(secret.slice(4, 40)), 'it repeats a credential')
  if (isRefused || status === 303)
    require(!everything.includes(canary.slice(4, 40)), 'it repeats what was sent in the wrong place')
  if (/^\/(connect|events|oauth2)\b/.test(path) && text !== '') {
    require(/^application\/(json|jwk-set\+json)/.test(headers.get('Content-Type') ?? ''), 'it is not JSON')
    const body = parsed(text)
    require(body !== undefined, 'its JSON does not parse')
    if (isRefused)
      require(typeof body?.message === 'string' || typeof body?.error === 'string', 'its error has no code')
  }
  if (status === 401 && !path.startsWith('/dashboard'))
    require(headers.has('WWW-Authenticate'), 'its 401 has no challenge')
  if (status === 405) require(headers.has('Allow'), 'its 405 has no Allow')
  if (status === 429) require(headers.has('Retry-After'), 'its 429 has no Retry-After')
  return problems
}

function parsed(text: string): { message?: unknown; error?: unknown } | undefined {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
