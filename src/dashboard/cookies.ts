import type { Context } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import type { HonoEnv } from '../http/context.ts'
import { publicOrigin } from '../pages/document.tsx'

/**
 * Cookies of this host only, out of reach of scripts. Browsers send them when a link on another site is followed, so
 * that it opens the page; a form of another site is refused before they are read (`ownForms`).
 */
const options = { path: '/', httpOnly: true, sameSite: 'Lax' } as const

/** Safari keeps no Secure cookie of http on loopback, where `npm run dev` serves. */
const LOOPBACK = /^http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:|$)/
const isOnLoopback = (c: Context<HonoEnv>) => LOOPBACK.test(publicOrigin(c))
const localName = (name: string) => `oncekey-${name}`

export function readCookie(c: Context<HonoEnv>, name: string): string {
  return (isOnLoopback(c) ? getCookie(c, localName(name)) : getCookie(c, name, 'host')) ?? ''
}

export function writeCookie(c: Context<HonoEnv>, name: string, value: string): void {
  if (isOnLoopback(c)) setCookie(c, localName(name), value, options)
  else setCookie(c, name, value, { ...options, prefix: 'host', secure: true })
}

/**
 * Deletes a cookie that the request has sent, and says whether it did. A response to a request without the cookie must
 * not delete it: the browser may keep one that it did not send.
 */
export function removeCookie(c: Context<HonoEnv>, name: string): boolean {
  if (readCookie(c, name) === '') return false
  if (isOnLoopback(c)) deleteCookie(c, localName(name), options)
  else deleteCookie(c, name, { ...options, prefix: 'host', secure: true })
  return true
}
