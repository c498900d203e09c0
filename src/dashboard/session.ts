import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { API_KEY_PREFIX, issueCredential, recogniseCredential, SESSION_PREFIX } from '../credential/credential.ts'
import { sha256 } from '../credential/digest.ts'
import { newId } from '../credential/id.ts'
import type { HonoEnv } from '../http/context.ts'
import { databaseOf } from '../http/database.ts'
import { ApiError } from '../http/errors.ts'
import { recordFailure, recordSuccess, refuseMalformed, requireAllowed, withinLimits } from '../http/rate-limits.ts'
import type { Access } from '../storage/caller.ts'
import { startSession } from '../storage/sessions.ts'

/** `__Host-session`: of this origin alone, out of reach of scripts, and sent by none but our own pages. */
const COOKIE = /(?:^|; *)__Host-session=([A-Za-z0-9_]+)/
const setCookie = (c: Context<HonoEnv>, value: string) =>
  c.header('Set-Cookie', `__Host-session=${value}; Path=/; HttpOnly; Secure; SameSite=Strict`)

/** Nobody's credential is longer: what is, is not hashed. */
const LONGEST_CREDENTIAL = 100

/**
 * Guards a page. A missing or misspelt session is refused here, without asking storage; whether it lasts, and what its
 * key may do, the page's own batch finds out.
 */
export const requireSession = (needs: Access) =>
  createMiddleware<HonoEnv>(async (c, next) => {
    const credential = cookieOf(c)
    const recognised = recognise(credential, SESSION_PREFIX)
    const database = recognised && databaseOf(c, recognised.region)
    if (!database) return refuseMalformed(c, credential)
    const digest = await sha256(credential)
    c.set('session', { kind: 'session', digest, region: recognised.region, needs })
    c.set('database', database)
    await withinLimits(c, digest, next)
  })

/** Whether the page may offer changes. To be asked once storage has answered. */
export function mayWrite(c: Context<HonoEnv>): boolean {
  return c.var.identity?.access === 'write'
}

/** For the page of a form: one that may only read has no use for it. */
export function requireWriteAccess(c: Context<HonoEnv>): void {
  if (!mayWrite(c)) throw new ApiError('forbidden')
}

/** Signs in with an API key. False for what is not a good one: storage is asked only about what could be. */
export async function signIn(c: Context<HonoEnv>, apiKey: string): Promise<boolean> {
  const key = recognise(apiKey, API_KEY_PREFIX)
  const database = key && databaseOf(c, key.region)
  const attempt = { digest: database ? await sha256(apiKey) : null, clientId: null }
  requireAllowed(c, attempt)
  if (!database || !attempt.digest) {
    recordFailure(c, attempt)
    return false
  }
  const now = Date.now()
  const { plaintext, digest } = await issueCredential(SESSION_PREFIX, key.region)
  const session = { id: newId('session', now, key.region), digest, createdAt: now }
  const caller = { kind: 'api_key' as const, digest: attempt.digest }
  const started = await startSession(database, caller, session)
  if ('refused' in started) {
    if (started.refused !== 'unauthorized') throw new ApiError(started.refused)
    recordFailure(c, attempt)
    return false
  }
  for (const credential of [attempt.digest, digest])
    recordSuccess(c, { digest: credential, clientId: null }, started.identity.apiKeyId)
  setCookie(c, plaintext)
  return true
}

/** Takes the cookie away. True where there was one. */
export function forgetCookie(c: Context<HonoEnv>): boolean {
  setCookie(c, '; Max-Age=0')
  return cookieOf(c) !== ''
}

function cookieOf(c: Context<HonoEnv>): string {
  return COOKIE.exec(c.req.header('Cookie') ?? '')?.[1] ?? ''
}

function recognise(credential: string, prefix: string) {
  const recognised = credential.length > LONGEST_CREDENTIAL ? null : recogniseCredential(credential)
  return recognised?.prefix === prefix ? recognised : null
}
