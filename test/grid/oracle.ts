import { type Case, LONG_MS } from './faults.ts'

/** The rules that hold whatever happens on the way to the database and back. */

export interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** The response to one request, and its changes. */
export interface Outcome {
  readonly reply: Reply
  /** Its changes: see effect.ts. */
  readonly effect: readonly string[]
}

export interface Judged {
  readonly path: string
  readonly isRead: boolean
  /** True if its change comes after the response. */
  readonly canBeLost: boolean
  /** The same request without a fault, in a world with the same objects. */
  readonly reference: Outcome & { readonly body: string }
  /** The request that met the fault, and the body without what differs from run to run. */
  readonly faulty: Outcome & { readonly body: string; readonly answeredMs: number }
  /** The request again, without a fault, and what both changed. Null if it was not repeated. */
  readonly again: Outcome | null
  readonly of: Case
}

/** Slack for timers of a busy machine, on which the runtime may not run for seconds. */
const SLACK_MS = 30_000
/** A form that took effect is refused the second time, and a search for a caller that is gone leads to sign-in. */
const ALREADY = [409, 303]

/** A sentence for each rule that is broken. */
export function judge({ path, isRead, canBeLost, reference, faulty, again, of }: Judged): string[] {
  const problems: string[] = []
  const require = (holds: boolean, sentence: string) => holds || problems.push(sentence)
  const { reply, effect, body } = faulty
  const { plan, expected } = of
  const isDone = effect.length > 0
  const isWhole = same(effect, reference.effect)
  const isRefused = reply.status === 503
  const couldCommit = plan.faults.some(({ kind }) => ['after', 'silent', 'corrupt'].includes(kind))

  require(isRefused ||
    reply.status === reference.reply.status, `it guesses: ${reply.status} in place of ${reference.reply.status}`)
  require(expected !== 'success' || !isRefused, 'it is refused, although a retry would have succeeded')
  require(faulty.answeredMs < (plan.budgetMs ?? LONG_MS) + SLACK_MS, `it took ${faulty.answeredMs} ms`)
  if (isRefused) {
    problems.push(...problemsOfRefusal(path, reply))
    require(!isDone || isWhole, `it took effect in part, or twice: ${differences(effect, reference.effect)}`)
    require(!isDone || couldCommit, `it was refused, and took effect all the same: ${effect}`)
    require(!isDone || /unknown/.test(reply.text), 'it took effect, and the response does not say that this is unknown')
    require(!isRead || !/unknown/.test(reply.text), 'it can have changed nothing, and the response does not say so')
  } else {
    require(isWhole ||
      (canBeLost && !isDone), `it is acknowledged, and did something else: ${differences(effect, reference.effect)}`)
    require(body === reference.body, `it answers something else: ${firstDifference(body, reference.body)}`)
  }
  for (const { text } of plan.faults as readonly { readonly text?: string | null }[]) {
    const words = text?.replace(/^D1_ERROR: /, '')
    require(!words || !everything(reply).includes(words), 'the response has the text of the error')
  }
  if (again) {
    const { status } = again.reply
    const isKnown =
      status === reference.reply.status || (isDone && path.startsWith('/dashboard') && ALREADY.includes(status))
    require(isKnown, `the same request again is ${status}`)
    require(same(
      again.effect,
      reference.effect,
    ), `after the same request again there is something else: ${differences(again.effect, reference.effect)}`)
  }
  return problems
}

/** Credentials that a response must not have. */
export function leaksOf(reply: Reply, credentials: readonly string[]): string[] {
  return credentials.some((credential) => everything(reply).includes(credential.slice(4, 40)))
    ? ['the response repeats a credential']
    : []
}

const everything = ({ text, headers }: Reply) => `${text}\n${JSON.stringify([...headers])}`

function problemsOfRefusal(path: string, { headers, text }: Reply): string[] {
  const problems: string[] = []
  const type = headers.get('Content-Type') ?? ''
  if (!/^[1-9]\d{0,4}$/.test(headers.get('Retry-After') ?? '')) problems.push('the 503 has no Retry-After')
  if (headers.get('Cache-Control') !== 'no-store') problems.push('the 503 may be kept by caches')
  if (headers.has('WWW-Authenticate')) problems.push('the 503 has a challenge')
  if (path.startsWith('/dashboard')) {
    if (!type.startsWith('text/html')) problems.push('the 503 is no page')
    if (/oncekey-session=[^;]/.test(headers.get('Set-Cookie') ?? '')) problems.push('the 503 has a session')
  } else if (type.startsWith('application/json')) {
    const { error, code, message, error_description } = JSON.parse(text)
    const isOAuth = path.startsWith('/oauth2')
    if (isOAuth ? error !== 'temporarily_unavailable' : code !== 'service_unavailable')
      problems.push('the 503 has another code')
    if (typeof (isOAuth ? error_description : message) !== 'string') problems.push('the 503 has no message')
  } else problems.push('the 503 is not JSON')
  if (!/unknown|Nothing was changed/i.test(text)) problems.push('the 503 does not say whether anything was changed')
  return problems
}

const same = (a: readonly string[], b: readonly string[]) => JSON.stringify(a) === JSON.stringify(b)

function differences(found: readonly string[], expected: readonly string[]): string {
  const extra = found.filter((one) => !expected.includes(one))
  const missing = expected.filter((one) => !found.includes(one))
  return JSON.stringify({ extra, missing, counts: [found.length, expected.length] })
}

function firstDifference(a: string, b: string): string {
  let i = 0
  while (a[i] === b[i] && i < a.length) i++
  return JSON.stringify([a.slice(Math.max(i - 40, 0), i + 80), b.slice(Math.max(i - 40, 0), i + 80)])
}
