import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { expect } from 'vitest'
import { app } from '../../src/app.ts'
import { counted } from '../faults/wrapped.ts'

/** The dashboard as a browser uses it, inside the runtime, over the real database. */

export const ORIGIN = 'https://oncekey.test'

export interface Visit {
  readonly status: number
  readonly headers: Headers
  readonly html: string
  /** How often storage was asked. */
  readonly trips: number
  /** Rows that D1 has read for it. */
  readonly rowsRead: number
}

/** The text of every statement that pages have sent. */
export const sent = new Set<string>()

/** Sends a request as it is, and checks what holds for every page. `bindings` take the place of the real ones. */
export async function visit(request: Request, bindings: Partial<Env> = {}): Promise<Visit> {
  const counter = counted(env.DB)
  const context = createExecutionContext()
  const response = await app.fetch(request, { ...env, DB: counter.database, ...bindings }, context)
  const { trips, rowsRead } = counter
  for (const sql of counter.sql) sent.add(sql)
  await waitOnExecutionContext(context)
  const { status, headers } = response
  const html = await response.text()
  const what = `${request.method} ${request.url} → ${status}`
  expect(trips, what).toBeLessThanOrEqual(1)
  expect(headers.get('Cache-Control'), what).toBe('no-store')
  expect(headers.get('Referrer-Policy'), what).toBe('no-referrer')
  expect(headers.get('X-Content-Type-Options'), what).toBe('nosniff')
  if (headers.has('Content-Disposition')) expect(headers.get('Content-Disposition'), what).toMatch(/^attachment; /)
  else if (status !== 303) checkPage(headers, html, what)
  return { status, headers, html, trips, rowsRead }
}

const POLICY = [
  "default-src 'none'",
  "style-src 'self'",
  "img-src 'self'",
  "script-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
]

function checkPage(headers: Headers, html: string, what: string): void {
  expect(headers.get('Content-Type'), what).toBe('text/html; charset=UTF-8')
  expect(headers.get('X-Frame-Options'), what).toBe('DENY')
  expect(/<a [^>]*>(?:(?!<\/a>).)*<a /s.exec(html)?.[0], `${what}: a link in a link`).toBeUndefined()
  expect(headers.get('Permissions-Policy'), what).toContain('camera=()')
  expect(headers.get('Content-Security-Policy')?.split('; '), what).toEqual(POLICY)
  expect(html, what).toMatch(/^<!DOCTYPE html><html lang="en">/)
  expect(html, what).not.toMatch(/<style|<script(?! type="module" src="\/static\/pages.js"><\/script>)/)
  expect(html, what).not.toMatch(/<[^>]+ (style|on\w+)=|url\(|@import/)
  for (const [, source] of html.matchAll(/ (?:src|srcset)="([^"]*)"/g)) expect(source, what).toMatch(/^\/static\//)
  const ids = [...html.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id)
  expect(new Set(ids).size, what).toBe(ids.length)
}

/** A browser with its cookies. */
export class Visitor {
  readonly cookies = new Map<string, string>()
  /** The environment of the last page that was shown, as its forms name it. */
  environment = ''
  /** Bindings in place of the real ones, and headers that every request has. */
  bindings: Partial<Env> = {}
  headers: Record<string, string> = {}

  /** The session's credential; empty while signed out. */
  get session(): string {
    return this.cookies.get('__Host-session') ?? ''
  }
  set session(credential: string) {
    this.cookies.set('__Host-session', credential)
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Visit> {
    const request = new Request(ORIGIN + path, { headers: { ...this.#headers(), ...headers }, redirect: 'manual' })
    return this.#keep(await visit(request, this.bindings))
  }

  /** Sends a form, as a browser does from a page of the same origin. */
  async post(
    path: string,
    fields: Record<string, string> | URLSearchParams = {},
    headers: Record<string, string> = {},
  ): Promise<Visit> {
    const request = new Request(ORIGIN + path, {
      method: 'POST',
      headers: { ...this.#headers(), Origin: 'null', 'Sec-Fetch-Site': 'same-origin', ...headers },
      body: new URLSearchParams([...new URLSearchParams(fields), ['environment', this.environment]]),
      redirect: 'manual',
    })
    return this.#keep(await visit(request, this.bindings))
  }

  /** Opens a form, and sends it with its hidden fields and these. */
  async submit(path: string, fields: Record<string, string> = {}): Promise<Visit> {
    const { html } = await this.get(path)
    return this.post(path, { ...hiddenFields(html), ...fields })
  }

  async signIn(apiKey: string): Promise<Visit> {
    const signedIn = await this.post('/dashboard/sign-in', { api_key: apiKey })
    expect(signedIn.status).toBe(303)
    await this.get('/dashboard')
    return signedIn
  }

  #headers(): Record<string, string> {
    const cookies = [...this.cookies].map(([name, value]) => `${name}=${value}`)
    return { ...this.headers, ...(cookies.length > 0 && { Cookie: cookies.join('; ') }) }
  }

  #keep(visited: Visit): Visit {
    this.environment = /name="environment" value="([^"]*)"/.exec(visited.html)?.[1] ?? this.environment
    for (const cookie of visited.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? []
      if (/Max-Age=0/.test(cookie)) this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
    return visited
  }
}

export function hiddenFields(html: string): Record<string, string> {
  const main = html.slice(html.indexOf('<main'))
  const fields = [...main.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)]
  return Object.fromEntries(fields.map(([, name = '', value = '']) => [name, unescaped(value)]))
}

function unescaped(text: string): string {
  return text
    .replaceAll('&quot;', '"')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&')
}

/** The secret that a page shows. */
export function shownSecret(html: string): string {
  return /<textarea id="secret"[^>]*>([^<]*)</.exec(html)?.[1] ?? ''
}
