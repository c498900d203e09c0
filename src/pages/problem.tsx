import type { Context, ErrorHandler } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { Child } from 'hono/jsx'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type * as v from 'valibot'
import type { ErrorBody } from '../contract/rules.ts'
import type { HonoEnv } from '../http/context.ts'
import { onError } from '../http/errors.ts'
import { htmlPage } from './document.tsx'
import { isolated, Name } from './parts.tsx'

/** An error with its own text. If it is thrown, the response is a page with that text. */
export class Problem extends Error {
  override readonly name = 'Problem'
  readonly status: ContentfulStatusCode
  readonly body: Child

  constructor(status: ContentfulStatusCode, title: string, body: Child) {
    super(title)
    this.status = status
    this.body = body
  }
}

/** Describes an error to people: what happened, whether anything changed, and what to do next. */
export async function problemOf(error: Error, c: Context<HonoEnv>): Promise<Problem> {
  if (error instanceof Problem) return error
  if (error instanceof HTTPException)
    return new Problem(
      403,
      'Form refused',
      'This form was not sent from the dashboard. Nothing was changed. Open the page again and send the form from there.',
    )
  // `onError` writes to the log, and sets Retry-After and Allow.
  const response = await onError(error, c)
  const body = (await response.json()) as v.InferOutput<typeof ErrorBody>
  const identity = c.get('identity')
  const session = c.get('session')
  if (identity && session?.environmentId !== undefined && session.environmentId !== identity.environmentId)
    return otherEnvironment(identity.environmentName ?? '')
  const [title, text] = wordsFor(c, body)
  return new Problem(response.status as ContentfulStatusCode, title, text)
}

/** The error for a form of one browser tab that is sent after another tab has signed in to another environment. */
function otherEnvironment(name: string): Problem {
  return new Problem(
    409,
    'You are signed in to another environment',
    <p>
      This form belongs to another environment than <Name>{name}</Name>, where you are signed in now. Nothing was
      changed. Sign in to the other environment again, and reopen the form.
    </p>,
  )
}

function wordsFor(c: Context<HonoEnv>, { code, message, errors }: v.InferOutput<typeof ErrorBody>): [string, string] {
  switch (code) {
    case 'forbidden':
      return ['Not allowed', message]
    case 'not_found':
    case 'method_not_allowed':
      return ['Page not found', 'Check the URL.']
    case 'entity_not_found':
      return [
        'Not found',
        `This doesn’t exist in ${isolated(c.get('identity')?.environmentName ?? 'this environment')}, or it was deleted or revoked. Nothing was changed.`,
      ]
    case 'payload_too_large':
      return ['Form too large', 'A form can have at most 64 KiB. Nothing was saved. Shorten it, and send it again.']
    case 'rate_limit_exceeded':
      return ['Too many requests', 'Nothing was changed. Wait 10 seconds and try again.']
    case 'service_unavailable':
      return message.includes('did not respond')
        ? ['The database didn’t respond', c.get('change') ? UNKNOWN_OUTCOME : message]
        : ['Temporarily unavailable', message]
    case 'internal_error':
      return ['Internal error', `${message} Request ID: ${c.get('requestId')}`]
    default:
      return ['Not saved', errors?.[0]?.message ?? message]
  }
}

const UNKNOWN_OUTCOME =
  'It is unknown whether the change was made. Open the page again and check before you repeat the change.'

interface ProblemTextProps {
  readonly problem: Problem
  readonly back: { readonly path: string; readonly name: string }
}

export const ProblemText = ({ problem: { message, body }, back }: ProblemTextProps) => (
  <section>
    <h1>{message}</h1>
    {typeof body === 'string' ? <p>{body}</p> : body}
    <p>
      <a href={back.path}>{back.name}</a>
    </p>
  </section>
)

/** Responds to a browser with an error page, outside of the dashboard. */
export const onBrowserError: ErrorHandler<HonoEnv> = async (error, c) => {
  const problem = await problemOf(error, c)
  return htmlPage(
    c,
    { title: problem.message, status: problem.status },
    <ProblemText problem={problem} back={{ path: '/', name: 'Start page' }} />,
  )
}
