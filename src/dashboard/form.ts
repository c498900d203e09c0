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
import { ApiError, granted } from '../http/errors.ts'
import type { FieldErrors } from '../pages/forms.tsx'
import { identify } from '../storage/batch.ts'
import { type KeyedRequest, REPLAY_WINDOW_MS } from '../storage/idempotency.ts'

/**
 * Accepts only forms of our own pages. Under `Referrer-Policy: no-referrer` browsers send `Origin: null` with a form, so
 * that Sec-Fetch-Site decides. A form whose headers contradict each other is refused.
 */
export const ownForms = csrf({
  secFetchSite: () => false,
  origin: (origin, c) => {
    const site = c.req.header('Sec-Fetch-Site')
    if (origin === 'null') return site === 'same-origin'
    return origin === new URL(c.req.url).origin && (site === undefined || site === 'same-origin')
  },
})

/** Refuses what is not a form. `csrf` accepts other media types, because other sites can't send them unasked. */
export const formsOnly = createMiddleware<HonoEnv>(async (c, next) => {
  const isForm = /^application\/x-www-form-urlencoded\s*(;|$)/i.test(c.req.header('Content-Type') ?? '')
  if (c.req.method === 'POST' && !isForm) throw new HTTPException(403)
  await next()
})

/** The value of a field; empty if there is none. */
export type Fields = (name: string) => string

/** Reads a form that needs no session. */
export async function readForm(c: Context<HonoEnv>): Promise<Fields> {
  const bytes = await readBytes(c.req.raw)
  if (typeof bytes === 'string') throw new ApiError(bytes)
  const fields = new URLSearchParams(new TextDecoder().decode(bytes))
  // Browsers end lines with CR LF.
  return (name) => (fields.get(name) ?? '').replaceAll('\r\n', '\n')
}

/** Reads a form that changes something. */
export async function readChange(c: Context<HonoEnv>): Promise<Fields> {
  try {
    return await readForm(c)
  } catch (error) {
    return refuse(c, error as Error)
  }
}

/** Refuses a form for what is wrong with it, once its caller is known to have write access: 401 and 403 come first. */
export async function refuse(c: Context<HonoEnv>, error: Error): Promise<never> {
  granted(c, await identify(c.var.database, c.var.session, 'write'))
  throw error
}

type Validated<T> = { readonly granted: T } | { readonly refused: FieldErrors }

/** Checks a form by the rules of the API. */
export function validate<S extends v.GenericSchema>(schema: S, value: unknown): Validated<v.InferOutput<S>> {
  const result = v.safeParse(schema, value)
  if (result.success) return { granted: result.output }
  const errors = new Map<string, string>()
  for (const issue of result.issues) {
    const { field, message } = describeIssue(issue)
    const [name = ''] = field.split('.')
    const text = message.slice(field.length).trim()
    if (!errors.has(name)) errors.set(name, text.charAt(0).toUpperCase() + text.slice(1))
  }
  return { refused: Object.fromEntries(errors) }
}

const TOKEN = /^([0-9a-z]{8,9})-[0-9a-f-]{36}$/

/** Identifies one form, so that it takes effect once: its time in base 36, and 122 random bits. */
export function newFormToken(): string {
  return `${Date.now().toString(36)}-${crypto.randomUUID()}`
}

/**
 * A form as a keyed request, which takes effect once. Its salt is zero, because nothing may be derived from it: what it
 * has created is shown only once. Null for a form that is older than the records of such requests.
 */
export async function keyedForm(c: Context<HonoEnv>, token: string): Promise<KeyedRequest | null> {
  const createdAt = Number.parseInt(TOKEN.exec(token)?.[1] ?? '', 36)
  if (!(Date.now() - createdAt < REPLAY_WINDOW_MS)) return null
  return {
    digest: await sha256OfParts('form', token),
    requestDigest: await requestDigest(c.req.method, c.req.path, ''),
    salt: new Uint8Array(32),
    prefix: '',
  }
}
