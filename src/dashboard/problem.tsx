import type { Context, ErrorHandler } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { Child } from 'hono/jsx'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { HonoEnv } from '../http/context.ts'
import { ApiError, onError } from '../http/errors.ts'
import { removeCookie } from './cookies.ts'
import { page } from './layout.tsx'
import { isOwnPath } from './paths.ts'

/** A refusal with its own words and the next step. Thrown, it becomes a page. */
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

/** Answers every refusal with a page. A caller without a valid session is sent to sign in. */
export const onPageError: ErrorHandler<HonoEnv> = async (error, c) => {
  if (error instanceof ApiError && error.code === 'unauthorized') {
    const query = new URLSearchParams()
    if (removeCookie(c, 'session')) query.set('ended', '')
    if (c.req.method === 'GET' && c.req.path !== '/dashboard' && isOwnPath(c.req.path)) query.set('to', c.req.path)
    return c.redirect(`/dashboard/sign-in${query.size > 0 ? `?${query}` : ''}`, 303)
  }
  const { status, message, body } = await problemOf(error, c)
  return page(
    c,
    { title: message, status },
    <section>
      <h1>{message}</h1>
      {typeof body === 'string' ? <p>{body}</p> : body}
      <p>
        <a href="/dashboard">All applications</a>
      </p>
    </section>,
  )
}

async function problemOf(error: Error, c: Context<HonoEnv>): Promise<Problem> {
  if (error instanceof Problem) return error
  if (error instanceof HTTPException)
    return new Problem(
      403,
      'Form refused',
      'This form was not sent from the dashboard. Nothing was changed. Open the page again and send the form from there.',
    )
  // Logs what needs a look, and sets Retry-After and Allow.
  const response = await onError(error, c)
  const status = response.status as ContentfulStatusCode
  const [title, text] = wordsFor(c, status)
  return new Problem(status, title, text)
}

function wordsFor(c: Context<HonoEnv>, status: number): [string, string] {
  const isRead = c.req.method === 'GET'
  switch (status) {
    case 403:
      return ['Read-only access', 'This API key is read-only. Sign in with an API key that has write access.']
    case 404: {
      const environment = c.var.identity?.environmentName
      if (!environment) return ['Page not found', 'Check the address, or start from the list of applications.']
      return ['Not found', `This doesn’t exist in ${environment}, or it was deleted or revoked. Nothing was changed.`]
    }
    case 405:
      return ['Page not found', 'Check the address, or start from the list of applications.']
    case 413:
      return ['Form too large', 'A form can have at most 64 KiB. Nothing was saved.']
    case 429:
      return ['Too many requests', 'Nothing was changed. Wait 10 seconds and try again.']
    case 503:
      return isRead
        ? ['The database didn’t respond', 'Nothing was changed. Try again.']
        : [
            'The database didn’t respond',
            'It is unknown whether the change was made. Check the application before you try again.',
          ]
    default:
      return ['Internal error', `Quote the request ID ${c.var.requestId} when you report this error.`]
  }
}

/** Refuses a form that was opened too long ago to tell whether it has taken effect already. */
export function staleForm(path: string): Problem {
  return new Problem(
    422,
    'This page expired',
    <p>
      It was opened more than an hour ago. Nothing was saved. <a href={path}>Reopen the form</a> and try again.
    </p>,
  )
}
