import type { Context } from 'hono'
import { csrf } from 'hono/csrf'
import { createMiddleware } from 'hono/factory'
import { HTTPException } from 'hono/http-exception'
import type { Child } from 'hono/jsx'
import * as v from 'valibot'
import { describeIssue } from '../contract/rules.ts'
import { requestDigest } from '../credential/derivation.ts'
import { sha256OfParts } from '../credential/digest.ts'
import { readBytes } from '../http/body.ts'
import type { HonoEnv } from '../http/context.ts'
import { ApiError, granted } from '../http/errors.ts'
import { publicOrigin } from '../pages/document.tsx'
import { Buttons, Errors, type FieldErrors, PostForm } from '../pages/forms.tsx'
import { Problem } from '../pages/problem.tsx'
import { identify } from '../storage/batch.ts'
import type { Need } from '../storage/caller.ts'
import { type KeyedRequest, REPLAY_WINDOW_MS } from '../storage/idempotency.ts'
import { APPLICATIONS_PATH, page, type Section } from './layout.tsx'

/**
 * Accepts only forms of our own pages. Because of `Referrer-Policy: no-referrer`, browsers send `Origin: null` with a
 * form. In that case, only Sec-Fetch-Site shows where the form came from. A form whose headers contradict each other is
 * refused.
 */
export const ownForms = csrf({
  secFetchSite: () => false,
  origin: (origin, c) => {
    const site = c.req.header('Sec-Fetch-Site')
    if (origin === 'null') return site === 'same-origin'
    // In development, the URL of the request has another host than the origin of the page, which is the issuer.
    const isOwn = origin === new URL(c.req.url).origin || origin === publicOrigin(c)
    return isOwn && (site === undefined || site === 'same-origin')
  },
})

/**
 * Refuses a body that is not a form. `csrf` does not check other media types, because other sites can't send them
 * without a preflight.
 */
export const formsOnly = createMiddleware<HonoEnv>(async (c, next) => {
  const isForm = /^application\/x-www-form-urlencoded\s*(;|$)/i.test(c.req.header('Content-Type') ?? '')
  if (c.req.method === 'POST' && !isForm) throw new HTTPException(403)
  await next()
})

/** Returns the value of a field, or an empty text. `all` returns every value of a repeated field. */
export type Fields = ((name: string) => string) & { readonly all: (name: string) => string[] }

/** Reads a form that needs no session. */
export async function readForm(c: Context<HonoEnv>): Promise<Fields> {
  const bytes = await readBytes(c.req.raw)
  if (typeof bytes === 'string') throw new ApiError(bytes)
  const fields = new URLSearchParams(new TextDecoder().decode(bytes))
  // Browsers send line breaks as CR LF.
  const field = (name: string) => (fields.get(name) ?? '').replaceAll('\r\n', '\n')
  return Object.assign(field, { all: (name: string) => fields.getAll(name) })
}

/**
 * Reads a form that changes something. Binds the change to the environment for which the page was rendered, because
 * another tab may have signed in to another environment.
 */
export async function readChange(c: Context<HonoEnv>, needs: Need): Promise<Fields> {
  c.set('session', { ...c.get('session'), needs })
  try {
    const field = await readForm(c)
    c.set('session', { ...c.get('session'), environmentId: field('environment') })
    return field
  } catch (error) {
    return refuse(c, error as Error)
  }
}

/**
 * Throws the error of an invalid form. Before that, it checks the rights of the caller, so that 401 and 403 take
 * precedence over 422.
 */
export async function refuse(c: Context<HonoEnv>, error: Error): Promise<never> {
  granted(c, await identify(c.get('database'), c.get('session'), c.get('session').needs ?? 'write'))
  throw error
}

export type Validated<T> = { readonly granted: T; readonly refused?: undefined } | { readonly refused: FieldErrors }

/** Checks a form by the rules of the API. */
export function validate<S extends v.GenericSchema>(schema: S, value: unknown): Validated<v.InferOutput<S>> {
  const result = v.safeParse(schema, value)
  if (result.success) return { granted: result.output }
  const errors = new Map<string, string>()
  for (const issue of result.issues) {
    const { field, message } = describeIssue(issue)
    const [name = ''] = field.split('.')
    // In a form, an empty field means null.
    const text = message.slice(field.length).replace(', or null', '').trim()
    if (!errors.has(name)) errors.set(name, text.charAt(0).toUpperCase() + text.slice(1))
  }
  return { refused: Object.fromEntries(errors) }
}

const TOKEN = /^([0-9a-z]{8,9})-[0-9a-f-]{36}$/

/** A token for one form, so that the form takes effect only once: the time in base 36, and 122 random bits. */
export function newFormToken(): string {
  return `${Date.now().toString(36)}-${crypto.randomUUID()}`
}

/**
 * The form as a request with an idempotency key, so that it takes effect only once. The salt is zero, because a
 * secret is shown only once and must not be derived again. Null if the form is so old that the record of its request
 * may be deleted.
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

/** The error for a form that is too old: Oncekey can no longer find out whether the form took effect. */
export function staleForm(path: string): Problem {
  return new Problem(
    422,
    'This page expired',
    <p>
      It was opened more than an hour ago. Nothing was saved. <a href={path}>Reopen the form</a> and try again.
    </p>,
  )
}

interface FormPageOptions {
  readonly title: string
  readonly heading?: Child
  /** A sentence that says what the form does. */
  readonly intro?: Child
  readonly action: string
  readonly fields?: Readonly<Record<string, string>>
  readonly verb: string
  /** The page that Cancel and the breadcrumb lead to. */
  readonly back: { readonly path: string; readonly name: string }
  readonly section?: Section
  readonly errors: FieldErrors
}

/** Responds with a page that has a form. The status is 422 if the form has errors. */
export function formPage(c: Context<HonoEnv>, options: FormPageOptions, children: Child): Response {
  const { title, heading, intro, action, fields = {}, verb, back, section = APPLICATIONS_PATH, errors } = options
  return page(
    c,
    { title, section, status: Object.keys(errors).length > 0 ? 422 : 200 },
    <section class="narrow">
      <div>
        <p class="crumb">
          <a href={back.path}>
            <bdi>{back.name}</bdi>
          </a>
        </p>
        <h1>{heading ?? title}</h1>
      </div>
      {intro && <p class="quiet">{intro}</p>}
      <PostForm action={action} class="stack" fields={fields}>
        <Errors errors={errors} />
        {children}
        <Buttons verb={verb} back={back.path} />
      </PostForm>
    </section>,
  )
}
