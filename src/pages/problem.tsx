import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { Child } from 'hono/jsx'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { HonoEnv } from '../http/context.ts'
import { onError } from '../http/errors.ts'

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

/** Words an error as a page does: what happened, whether anything changed, and what to do next. */
export async function problemOf(error: Error, c: Context<HonoEnv>): Promise<Problem> {
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
