import { type Context, Hono } from 'hono'
import * as v from 'valibot'
import { type AcceptedLeak, ReportGitHubLeaks, ReportLeak, sourceOf } from '../contract/leaks.ts'
import { describeIssue } from '../contract/rules.ts'
import { recogniseCredential } from '../credential/credential.ts'
import { readJson } from '../http/body.ts'
import type { HonoEnv } from '../http/context.ts'
import { ApiError } from '../http/errors.ts'
import { countReport, requireFewReports } from '../http/rate-limits.ts'
import { readSettings } from '../http/settings.ts'
import { afterResponse, type Database, openDatabase } from '../storage/database.ts'
import { type HandledLeak, handleLeaks, type LeakReport } from '../storage/leaks.ts'
import { isSignedByGitHub } from './github-signature.ts'

const ACCEPTED: v.InferOutput<typeof AcceptedLeak> = { status: 'accepted' }
/** How long the platform lets work continue after a response. */
const PLATFORM_MS = 30_000
const BUDGET_MS = 25_000
const MAX_ERRORS = 20

/**
 * Accepts leak reports without authentication; GitHub must sign reports in its own format. The response is the same for
 * every credential, and is sent before the database request. So neither the response nor its time reveals whether a
 * credential exists.
 */
export const leaks = new Hono<HonoEnv>().post('/', async (c) => {
  requireFewReports(c)
  const body = await readJson(c.req.raw)
  if (typeof body === 'string') throw new ApiError(body)
  const isGitHub = Array.isArray(body.value)
  if (isGitHub) await requireGitHub(c, body.bytes)
  const found = isGitHub ? gitHubReports(body.value) : ownReport(body.value)
  const reports = found.flatMap(({ credential, source }) => {
    const text = credential.trim()
    const recognised = recogniseCredential(text)
    return recognised ? [{ credential: text, source, ...recognised }] : []
  })
  if (!isGitHub) countReport(c, reports.length > 0)
  for (const region of readSettings(c.env).REGIONS) {
    const ofRegion = reports.filter((report) => report.region === region.digit)
    if (ofRegion.length > 0) handleAfterResponse(c, region, ofRegion, isGitHub ? 'signedLeaks' : 'leaks')
  }
  return c.json(ACCEPTED, 202)
})

async function requireGitHub(c: Context<HonoEnv>, body: Uint8Array<ArrayBuffer>): Promise<void> {
  const { GITHUB_KEYS_URL } = readSettings(c.env)
  const headers = [c.req.header('Github-Public-Key-Identifier'), c.req.header('Github-Public-Key-Signature')] as const
  let isSigned = false
  try {
    isSigned = await isSignedByGitHub(GITHUB_KEYS_URL, body, ...headers)
  } finally {
    // A report without a valid signature is counted, even if the keys to check it could not be fetched: it may have caused a
    // request to GitHub.
    if (!isSigned) countReport(c, false)
  }
  if (!isSigned) throw new ApiError('invalid_signature')
}

function ownReport(value: unknown) {
  const { credential, source = null } = parse(ReportLeak, value)
  return [{ credential, source }]
}

function gitHubReports(value: unknown) {
  return parse(ReportGitHubLeaks, value).map(({ token, url }) => ({ credential: token, source: sourceOf(url) }))
}

function parse<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, value)
  if (result.success) return result.output
  throw new ApiError('invalid_request_parameters', { errors: result.issues.slice(0, MAX_ERRORS).map(describeIssue) })
}

/**
 * Handles the reports of one region after the response. If the database fails, the log has an entry without the
 * credentials.
 */
function handleAfterResponse(
  c: Context<HonoEnv>,
  region: Parameters<typeof openDatabase>[1],
  reports: readonly LeakReport[],
  queue: NonNullable<Database['queue']>,
): void {
  const now = Date.now()
  const waitUntil = (promise: Promise<unknown>) => c.executionCtx.waitUntil(promise)
  const database = openDatabase(c.env, region, { deadline: now + BUDGET_MS, waitUntil, queue })
  const entry = { request_id: c.get('requestId'), region: region.digit, reported: reports.length }
  afterResponse(database, async () => {
    let handled: HandledLeak[]
    try {
      handled = await handleLeaks(database, reports, now)
      console.log({ message: 'leaks', ...entry, handled: handled.map(({ id }) => id) })
    } catch (error) {
      return console.error({ message: 'leaks not handled', ...entry, error: String(error) })
    }
    const wanted = handled.filter(({ has_delivery }) => has_delivery)
    const events = wanted.map(({ event_id: id, environment_id: environmentId }) => ({ id, environmentId }))
    await c.get('deliver')({ ...database, queue: 'requests', deadline: now + PLATFORM_MS }, events)
  })
}
