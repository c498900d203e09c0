import type { Context } from 'hono'
import { csrf } from 'hono/csrf'
import { createMiddleware } from 'hono/factory'
import { HTTPException } from 'hono/http-exception'
import * as v from 'valibot'
import { describeIssue } from '../contract/rules.ts'
import { requestDigest } from '../credential/derivation.ts'
import { sha256OfParts } from '../credential/digest.ts'
import { readBytes } from '../http/body.ts'
import type { HonoEnv } from '../http/context.ts'
import { ApiError } from '../http/errors.ts'
import { type KeyedRequest, REPLAY_WINDOW_MS } from '../storage/idempotency.ts'

/**
 * Lets in what our own pages send. Under `Referrer-Policy: no-referrer` browsers send `Origin: null` with a form, and
 * then their Sec-Fetch-Site tells; where they contradict each other, the form is refused.
 */
export const ownForms = csrf({
  secFetchSite: () => false,
  origin: (origin, c) => {
    const site = c.req.header('Sec-Fetch-Site')
    if (origin === 'null') return site === 'same-origin'
    return origin === new URL(c.req.url).origin && (site === undefined || site === 'same-origin')
  },
})

/** What a form sends, and nothing else: `csrf` lets other media types pass, because other sites cannot send them unasked. */
export const formsOnly = createMiddleware<HonoEnv>(async (c, next) => {
  const isForm = /^application\/x-www-form-urlencoded\s*(;|$)/i.test(c.req.header('Content-Type') ?? '')
  if (c.req.method === 'POST' && !isForm) throw new HTTPException(403)
  await next()
})

/** The fields of a form. Browsers end lines with CR LF. */
export async function readForm(c: Context<HonoEnv>): Promise<(name: string) => string> {
  const bytes = await readBytes(c.req.raw)
  if (typeof bytes === 'string') throw new ApiError(bytes)
  const fields = new URLSearchParams(new TextDecoder().decode(bytes))
  return (name) => (fields.get(name) ?? '').replaceAll('\r\n', '\n')
}

/** What is wrong, by field. */
export type FieldErrors = Readonly<Record<string, string>>

/** The rules are the API's own: one object, one set of them. */
export function check<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
): v.InferOutput<S> | { errors: FieldErrors } {
  const result = v.safeParse(schema, value)
  if (result.success) return result.output
  const errors: Record<string, string> = {}
  for (const issue of result.issues) {
    const { field, message } = describeIssue(issue)
    const [name = ''] = field.split('.')
    const words = message.slice(field.length).trim()
    errors[name] ??= words.charAt(0).toUpperCase() + words.slice(1)
  }
  return { errors }
}

export function isRefused<T extends object>(checked: T | { errors: FieldErrors }): checked is { errors: FieldErrors } {
  return 'errors' in checked
}

const TOKEN = /^([0-9a-z]{8,9})-[0-9a-f-]{36}$/

/** Names one form, once it is sent: its time in base 36, and 122 random bits. */
export function newFormToken(): string {
  return `${Date.now().toString(36)}-${crypto.randomUUID()}`
}

/**
 * A form as a keyed request, so that sending it again makes nothing again. It has no salt to derive from: what it made
 * cannot be shown twice, not even to whoever made it. Null for a form from before the time in which that is remembered.
 */
export async function keyedForm(c: Context<HonoEnv>, token: string): Promise<KeyedRequest | null> {
  const madeAt = Number.parseInt(TOKEN.exec(token)?.[1] ?? '', 36)
  if (!(Date.now() - madeAt < REPLAY_WINDOW_MS)) return null
  return {
    digest: await sha256OfParts('form', token),
    requestDigest: await requestDigest(c.req.method, c.req.path, ''),
    salt: new Uint8Array(32),
    prefix: '',
  }
}
