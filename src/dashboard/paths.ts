import { createMiddleware } from 'hono/factory'

/**
 * Addresses of the dashboard. A Location header and the field `to` have only these, because a path or a field of
 * a request may hold a pasted credential.
 */
const SEGMENT = /^([a-z][a-z-]{0,19}|(conn_app|client|secret|api_key|session)_[0-9A-HJKMNP-TV-Z]{26})$/

/** A page of the dashboard: words and ids, and nothing that could be a credential or another site. */
export function isOwnPath(path: string): boolean {
  const [root, ...segments] = path.split('/').slice(1)
  return path.startsWith('/') && root === 'dashboard' && segments.every((segment) => SEGMENT.test(segment))
}

/** Of an application. `id` comes from storage, not from the request. */
export function applicationPath(id: string): string {
  return `/dashboard/applications/${id}`
}

/** Of an application whose id a request names. */
export function pathOf(id: string): string {
  return isOwnPath(applicationPath(id)) ? applicationPath(id) : '/dashboard'
}

/** As in src/credential: 43 random digits and 6 of checksum. Ids have 26 of them in a row at most. */
const CREDENTIAL_TAIL = /[0-9A-Za-z]{40,}/

/** The last six characters of a client secret or another credential in a text; null if there is none. */
export function hintOfCredential(text: string): string | null {
  return CREDENTIAL_TAIL.exec(text)?.[0].slice(-6) ?? null
}

/** The last six characters of a text pasted to find a secret: a hint, a log line, a whole secret. */
export function hintIn(text: string): string | null {
  return (text.match(/[0-9A-Za-z]{6,}/g) ?? []).at(-1)?.slice(-6) ?? null
}

/** The page that finds a secret. */
export function findPath(hint: string): string {
  return `/dashboard/find?hint=${hint}`
}

/** Leads a URL with a credential in its query to the page that finds the secret, so that it is not used or logged again. */
export const withoutCredentials = createMiddleware(async (c, next) => {
  const hint = Object.values(c.req.query()).map(hintOfCredential).find(Boolean)
  if (c.req.method === 'GET' && hint) return c.redirect(findPath(hint), 303)
  return next()
})
