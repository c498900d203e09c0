import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { expect } from 'vitest'
import worker from '../../src/index.ts'
import { type Call, call, type Reply } from '../api.ts'
import { advance } from '../clock.ts'
import { withBatch } from '../faults/wrapped.ts'
import fc from '../property.ts'
import { iso, secretsOf } from '../requests.ts'
import {
  type Answer,
  type Changes,
  type IssuingRequest,
  isRotatedOut,
  LIMIT,
  type Secret,
  type SecretModel,
} from './secret-model.ts'

/** Commands on an application's secrets. Each runs on the model and on the Worker, which must agree. */
export interface Real {
  readonly apiKey: string
  readonly applicationId: string
  /** By the secret's id. */
  readonly plaintexts: Map<string, string>
  /** The keyed requests so far. */
  readonly sent: { readonly key: string; readonly request: IssuingRequest }[]
  /** Outcomes so far, in this history and others. */
  readonly seen: Set<string>
}

type Command = fc.AsyncCommand<SecretModel, Real>

/** The fate of a request between the caller and the database. */
const FATES = [
  'arrives',
  'the caller loses the reply and sends it again',
  'the database fails for a moment before the commit',
  'the database fails for a moment after the commit',
  'the database fails before the commit, and the caller sends it again',
  'the database fails after the commit, and the caller sends it again',
] as const
type Fate = (typeof FATES)[number]

const MOMENTARY = 'D1_ERROR: Network connection lost.'
const LASTING = 'D1_ERROR: D1 DB is overloaded. Requests queued for too long.'

function failing(message: string, { isCommitted, times }: { isCommitted: boolean; times: number }): Partial<Env> {
  let tries = 0
  const DB = withBatch(env.DB, async (real, statements) => {
    if (tries++ >= times) return real(statements)
    if (isCommitted) await real(statements)
    throw new Error(message)
  })
  return { DB }
}

/** Sends a request to its fate. The model answers each time that the request takes effect. */
async function exchange(real: Real, fate: Fate, send: (options: Partial<Env>) => Promise<Reply>, model: () => Answer) {
  const isCommitted = fate.includes('after the commit')
  let faults: Partial<Env> = {}
  if (fate.startsWith('the database fails for a moment')) faults = failing(MOMENTARY, { isCommitted, times: 1 })
  else if (fate !== 'arrives') {
    const isLost = fate.startsWith('the caller')
    const first = await send(isLost ? {} : failing(LASTING, { isCommitted, times: Infinity }))
    if (!isLost) expect(first.status, first.text).toBe(503)
    if (isLost || isCommitted) {
      const answer = model()
      if (answer.issued && isLost) learn(real, answer.issued, first)
    }
  }
  const answer = model()
  const reply = await send(faults)
  expect([reply.status, reply.json?.code], `${fate}: ${reply.text}`).toEqual([answer.status, answer.code])
  real.seen.add(`${answer.status} ${answer.code ?? (answer.isReplay ? 'replay' : '')}`.trim())
  if (answer.issued) {
    expect(reply.headers.get('Idempotent-Replayed')).toBe(answer.isReplay ? 'true' : null)
    learn(real, answer.issued, reply)
    const { secret, ...rest } = reply.json
    expect(rest).toEqual({ id: answer.issued.id, secret_hint: answer.issued.hint, ...(answer.body as object) })
  } else if (answer.body) expect(reply.json).toEqual(answer.body)
  return answer
}

/** Copies the ID and the plaintext of a new secret from the Worker. For a known secret, both must be the same again. */
function learn({ plaintexts }: Real, secret: Secret, { json }: Reply): void {
  if (secret.id) expect([json.id, json.secret]).toEqual([secret.id, plaintexts.get(secret.id) ?? json.secret])
  Object.assign(secret, { id: json.id, hint: json.secret.slice(-6) })
  plaintexts.set(json.id, json.secret)
}

/** A limit that is soon reached, and no rate limits: the platform's simulation costs as much as a query. */
const BINDINGS: Partial<Env> = {
  MAX_SECRETS_PER_APPLICATION: LIMIT,
  MANAGEMENT_CALLS: { limit: async () => ({ success: true }) },
}

function ask({ apiKey }: Real, method: string, path: string, bindings: Partial<Env> = {}, options: Call = {}) {
  return call(apiKey, method, path, { ...options, bindings: { ...BINDINGS, ...bindings } })
}

const isoOrNull = (unixMs: number | null) => unixMs && iso(unixMs)

function issue(model: SecretModel, real: Real, request: IssuingRequest, key: string | null, fate: Fate) {
  const path = secretsOf(real.applicationId) + (request.kind === 'rotate' ? '/rotate' : '')
  const body =
    request.kind === 'create'
      ? { name: request.name, expires_at: isoOrNull(request.expiresAt) }
      : { grace_period_seconds: request.graceMs / 1000 }
  const headers = key === null ? {} : { 'Idempotency-Key': key }
  return exchange(
    real,
    fate,
    (bindings) => ask(real, 'POST', path, bindings, { body, headers }),
    () => model.issue(request, key),
  )
}

type Run = (model: SecretModel, real: Real) => Promise<unknown>

function command(name: string, run: Run, check: Command['check'] = () => true): Command {
  return { check, toString: () => name, run: async (model, real) => void (await run(model, real)) }
}

/** A command on one of the secrets so far, counted from the last. */
function onSecret(name: string, nth: number, run: (secret: Secret, ...on: Parameters<Run>) => Promise<unknown>) {
  const pick = ({ removed, secrets }: Pick<SecretModel, 'removed' | 'secrets'>) => [...removed, ...secrets].at(-1 - nth)
  const runOnIt: Run = (model, real) => run(pick(model) as Secret, model, real)
  return command(`${name} ${nth}`, runOnIt, (model) => pick(model) !== undefined)
}

export async function list(model: SecretModel, real: Real): Promise<void> {
  const { json } = await ask(real, 'GET', secretsOf(real.applicationId))
  expect(json).toEqual(model.list().body)
}

export async function verify(secret: Secret, model: SecretModel, real: Real): Promise<void> {
  const body = { client_secret: real.plaintexts.get(secret.id) }
  const { json } = await ask(real, 'POST', '/connect/client_secrets/verify', {}, { body })
  // The response has the last use before this one.
  const before = model.find(secret).body
  const isGood = model.verify(secret)
  expect(json.valid).toBe(isGood)
  if (isGood) expect(json.client_secret).toEqual(before)
}

function update(secret: Secret, model: SecretModel, real: Real, changes: Changes, fate: Fate) {
  const { name, expiresAt, isDisabled: disabled } = changes
  const body = { name, disabled, ...(expiresAt !== undefined && { expires_at: isoOrNull(expiresAt) }) }
  return exchange(
    real,
    fate,
    (bindings) => ask(real, 'PATCH', `/connect/client_secrets/${secret.id}`, bindings, { body }),
    () => model.change(secret, changes),
  )
}

async function cleanUp(): Promise<void> {
  const context = createExecutionContext()
  await worker.scheduled(createScheduledController(), env, context)
  await waitOnExecutionContext(context)
}

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

const isKeyed = fc.boolean()
const nth = fc.oneof(fc.nat({ max: 1 }), fc.nat({ max: 6 }))
const name = fc.constantFrom(null, 'Production', 'Nightly')
const fate = fc.oneof(
  { weight: 4, arbitrary: fc.constant(FATES[0]) },
  { weight: 1, arbitrary: fc.constantFrom(...FATES) },
)
/** Chosen so that moments meet: one another, the hour of a replay, the days of cleanup. */
const lifetime = fc.constantFrom(null, null, 1, MINUTE, HOUR, DAY, 30 * DAY)
const grace = fc.constantFrom(0, SECOND, MINUTE, DAY, 30 * DAY)
const wait = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(1, SECOND, MINUTE - 1, MINUTE) },
  { weight: 2, arbitrary: fc.constantFrom(HOUR - 1, HOUR, DAY) },
  { weight: 1, arbitrary: fc.constantFrom(30 * DAY, 91 * DAY) },
)

/** Without an Idempotency-Key, a request sent again would be another request. */
function issueNew(model: SecretModel, real: Real, request: IssuingRequest, isKeyed: boolean, fate: Fate) {
  const key = isKeyed || fate.endsWith('again') ? crypto.randomUUID() : null
  if (key !== null) real.sent.push({ key, request })
  return issue(model, real, request, key, fate)
}

const create = fc.tuple(lifetime, name, isKeyed, fate).map(([ms, name, isKeyed, fate]) =>
  command(`create ${JSON.stringify({ ms, name, isKeyed, fate })}`, (model, real) => {
    const expiresAt = ms === null ? null : model.now + ms
    return issueNew(model, real, { kind: 'create', name, expiresAt }, isKeyed, fate)
  }),
)
const rotate = fc
  .tuple(grace, isKeyed, fate)
  .map(([graceMs, isKeyed, fate]) =>
    command(`rotate ${JSON.stringify({ graceMs, isKeyed, fate })}`, (model, real) =>
      issueNew(model, real, { kind: 'rotate', graceMs }, isKeyed, fate),
    ),
  )
const ANOTHER: IssuingRequest = { kind: 'create', name: 'Another', expiresAt: null }
const replay = fc.tuple(nth, fc.nat({ max: 3 }), fate).map(([n, other, fate]) =>
  command(`replay ${n} ${other === 0 ? 'with another body ' : ''}${fate}`, async (model, real) => {
    const sent = real.sent.at(-1 - n)
    if (sent) await issue(model, real, other === 0 ? ANOTHER : sent.request, sent.key, fate)
  }),
)
const revoke = fc.tuple(nth, fate).map(([n, fate]) =>
  onSecret(`revoke ${fate}`, n, (secret, model, real) => {
    const send = (bindings: Partial<Env>) => ask(real, 'DELETE', `/connect/client_secrets/${secret.id}`, bindings)
    return exchange(real, fate, send, () => model.revoke(secret))
  }),
)
const revokeAll = fate.map((fate) =>
  command(`revoke all ${fate}`, (model, real) => {
    const send = (bindings: Partial<Env>) => ask(real, 'DELETE', secretsOf(real.applicationId), bindings)
    return exchange(real, fate, send, () => model.revokeAll())
  }),
)
async function updateAndNote(name: string, ...[secret, model, real, changes, fate]: Parameters<typeof update>) {
  const { code } = await update(secret, model, real, changes, fate)
  if (code) real.seen.add(`${name}: ${code}`)
}
const updating = (name: string, changes: (now: number) => Changes) =>
  fc
    .tuple(nth, fate)
    .map(([n, fate]) =>
      onSecret(`${name} ${fate}`, n, (secret, model, real) =>
        updateAndNote(name, secret, model, real, changes(model.now), fate),
      ),
    )
const disable = updating('disable', () => ({ isDisabled: true }))
const enable = updating('enable', () => ({ isDisabled: false }))
const undo = updating('undo', () => ({ expiresAt: null }))
/** Rare among the draws above: an application at its limit, and a rotated-out secret that its owner wants to keep. */
const undoAtLimit = fate.map((fate) =>
  command(`undo a rotation at the limit ${fate}`, async (model, real) => {
    await issueNew(model, real, { kind: 'rotate', graceMs: DAY }, false, 'arrives')
    for (let i = 1; i < LIMIT; i++) await issueNew(model, real, ANOTHER, false, 'arrives')
    const rotatedOut = model.live().find(isRotatedOut)
    if (rotatedOut) await updateAndNote('undo', rotatedOut, model, real, { expiresAt: null }, fate)
  }),
)
/** An expiry far in the future is no way around the limit. */
const extendAtLimit = fate.map((fate) =>
  command(`extend a secret beyond its grace period at the limit ${fate}`, async (model, real) => {
    await issueNew(model, real, { kind: 'rotate', graceMs: DAY }, false, 'arrives')
    for (let i = 1; i < LIMIT; i++) await issueNew(model, real, ANOTHER, false, 'arrives')
    const rotatedOut = model.live().find(isRotatedOut)
    const expiresAt = Date.UTC(9999, 11, 31)
    if (rotatedOut) await updateAndNote('extend', rotatedOut, model, real, { expiresAt }, fate)
  }),
)
const expire = fc
  .tuple(lifetime, name)
  .chain(([ms, name]) => updating(`expire in ${ms}`, (now) => ({ name, expiresAt: now + (ms ?? SECOND) })))
const find = nth.map((n) =>
  onSecret('find', n, async (secret, model, real) => {
    const get = () => ask(real, 'GET', `/connect/client_secrets/${secret.id}`)
    await exchange(real, 'arrives', get, () => model.find(secret))
    const { json } = await ask(real, 'GET', `/connect/client_secrets?hint=${secret.hint}`)
    const isFound = model.live().includes(secret)
    expect(json.map(({ id }: { id: string }) => id)).toEqual(isFound ? [secret.id] : [])
  }),
)
const pass = wait.map((ms) =>
  command(`${ms} ms pass`, async (model) => {
    model.now = advance(ms)
  }),
)
const cleanup = fc.constantFrom(1, HOUR, DAY, 91 * DAY).map((ms) =>
  command(`${ms} ms pass, and cleanup runs`, async (model, real) => {
    model.now = advance(ms)
    await cleanUp()
    model.cleanUp()
    if (model.removed.length > 0) real.seen.add('cleanup removed a secret')
  }),
)

/** A command that is listed twice is drawn twice as often. */
export const commands: fc.Arbitrary<Command>[] = [
  ...[create, create, create, rotate, rotate, replay, replay, replay],
  ...[fc.constant(command('list', list)), nth.map((n) => onSecret('verify', n, verify)), find],
  ...[revoke, revoke, disable, enable, undo, undo, undoAtLimit, extendAtLimit, expire, expire, revokeAll],
  ...[pass, pass, cleanup, cleanup],
]
