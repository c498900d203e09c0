import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { cleanUp } from '../../src/storage/cleanup.ts'
import { call, newApiKey, newApplication } from '../api.ts'
import { counted } from '../faults/wrapped.ts'
import { operatorDatabase } from '../operator.ts'
import { iso, secretsOf } from '../requests.ts'

const DAY_MS = 24 * 60 * 60 * 1000
const run = (now: number, binding = env.DB) => cleanUp(operatorDatabase(binding), now, 365)

/** A secret in an environment of its own. */
async function newSecret(body: object = {}) {
  const { apiKey, environmentId } = await newApiKey()
  const { id: application } = await newApplication(apiKey)
  const { json } = await call(apiKey, 'POST', secretsOf(application), { body })
  const id = json.id as string
  return {
    apiKey,
    environmentId,
    application,
    id,
    secret: json.secret as string,
    patch: (changes: object) => call(apiKey, 'PATCH', `/connect/client_secrets/${id}`, { body: changes }),
    state: async () => (await call(apiKey, 'GET', `/connect/client_secrets/${id}`)).json,
    events: async (type: string) =>
      (await call(apiKey, 'GET', `/events?events=connect_application_secret.${type}`)).json.data,
  }
}
type Made = Awaited<ReturnType<typeof newSecret>>

/** The ID of an event that cleanup records about a secret has the last 16 characters of the secret's ID. */
const idOfEvent = ({ id }: Made) => expect.stringMatching(`^event_.{10}${id.slice(-16)}$`)

const reminders = async (secret: Made) =>
  (await secret.events('expiring')).map(({ data }: { data: { expires_in_days: number } }) => data.expires_in_days)

describe('reminders before an expiry', () => {
  test('cleanup records a reminder 30 days, 7 days and 1 day before an expiry, with the secret', async () => {
    const expiresAt = Date.now() + 40 * DAY_MS
    const secret = await newSecret({ name: 'ci', expires_at: iso(expiresAt) })
    const { updated_at } = await secret.state()
    for (const [days, recorded] of [
      [30, [30]],
      [7, [30, 7]],
      [1, [30, 7, 1]],
    ] as const) {
      const due = expiresAt - days * DAY_MS
      expect((await run(due - 1)).reminders_recorded).toBe(0)
      expect((await run(due)).reminders_recorded).toBe(1)
      expect((await run(due + 1)).reminders_recorded).toBe(0)
      expect(await reminders(secret)).toEqual(recorded)
    }
    expect((await run(expiresAt)).reminders_recorded).toBe(0)
    const [event] = await secret.events('expiring')
    expect(event).toMatchObject({
      id: idOfEvent(secret),
      data: { id: secret.id, name: 'ci', application_id: secret.application, expires_at: iso(expiresAt) },
      context: { actor: 'system' },
    })
    expect(await reminders(secret)).toEqual([30, 7, 1])
    expect(event.data.updated_at).toBe(updated_at)
  })

  test('a secret with a lifetime of 10 days gets no reminder 30 days before its expiry', async () => {
    const expiresAt = Date.now() + 10 * DAY_MS
    const secret = await newSecret({ expires_at: iso(expiresAt) })
    expect((await run(Date.now())).reminders_recorded).toBe(0)
    await run(expiresAt - 2 * DAY_MS)
    await run(expiresAt - 1000)
    expect(await reminders(secret)).toEqual([7, 1])
  })

  test('a late run of cleanup records only the reminder for the remaining time', async () => {
    const expiresAt = Date.now() + 40 * DAY_MS
    const secret = await newSecret({ expires_at: iso(expiresAt) })
    await run(expiresAt - 5 * DAY_MS)
    expect(await reminders(secret)).toEqual([7])
    await run(expiresAt + 1)
    expect(await reminders(secret)).toEqual([7])
    expect(await secret.events('expired')).toHaveLength(1)
  })

  test('a secret gets reminders for a later expiry that is set, and none after the expiry is removed', async () => {
    const secret = await newSecret({ expires_at: iso(Date.now() + 20 * DAY_MS) })
    const expiresAt = Date.now() + 50 * DAY_MS
    await secret.patch({ expires_at: iso(expiresAt) })
    expect((await run(Date.now())).reminders_recorded).toBe(0)
    await run(expiresAt - 30 * DAY_MS)
    expect(await reminders(secret)).toEqual([30])
    await secret.patch({ expires_at: null })
    await run(expiresAt - DAY_MS)
    expect(await reminders(secret)).toEqual([30])
  })

  test('a grace period of one day gets no reminder, and a grace period of two days gets one a day before its end', async () => {
    for (const [days, expected] of [
      [1, []],
      [2, [1]],
    ] as const) {
      const secret = await newSecret()
      const body = { grace_period_seconds: days * 86_400 }
      await call(secret.apiKey, 'POST', `${secretsOf(secret.application)}/rotate`, { body })
      await run(Date.now() + days * DAY_MS - 60_000)
      expect(await reminders(secret)).toEqual(expected)
    }
  })

  test('a disabled or revoked secret gets no reminder', async () => {
    const expires_at = iso(Date.now() + 40 * DAY_MS)
    const disabled = await newSecret({ expires_at })
    const revoked = await newSecret({ expires_at })
    await disabled.patch({ disabled: true })
    await call(revoked.apiKey, 'DELETE', `/connect/client_secrets/${revoked.id}`)
    expect((await run(Date.now() + 11 * DAY_MS)).reminders_recorded).toBe(0)
    expect([...(await reminders(disabled)), ...(await reminders(revoked))]).toEqual([])
  })
})

describe('secrets that are unused for longer than the maximum of their environment', () => {
  const setPolicy = ({ environmentId }: Made, days: number | null) =>
    env.DB.prepare('UPDATE environments SET max_unused_days = ? WHERE id = ?').bind(days, environmentId).run()
  const use = ({ apiKey, secret }: Made) =>
    call(apiKey, 'POST', '/connect/client_secrets/verify', { body: { client_secret: secret } })
  const inDays = (days: number) => Date.now() + days * DAY_MS
  /** Adds secrets that were never used to the application of a secret. */
  const addSecrets = ({ id, environmentId }: Made, count: number) =>
    env.DB.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
      INSERT INTO client_secrets (environment_id, id, application_id, digest, secret_hint, created_at, updated_at, event_id)
      SELECT environment_id, 'secret_01' || substr(hex(randomblob(12)), 1, 24), application_id, randomblob(32), 'abcdef', 1, 1, 'event_1'
      FROM n JOIN client_secrets ON environment_id = ?2 AND id = ?3`,
    )
      .bind(count, environmentId, id)
      .run()

  test('cleanup disables a secret that was not used for the maximum number of days, and records an event', async () => {
    const secret = await newSecret()
    await setPolicy(secret, 30)
    expect((await run(inDays(29))).unused_disabled).toBe(0)
    expect(await secret.state()).not.toHaveProperty('disabled')
    const now = inDays(31)
    expect((await run(now)).unused_disabled).toBe(1)
    expect(await secret.state()).toMatchObject({ disabled: true, updated_at: iso(now) })
    expect((await use(secret)).json).toEqual({ valid: false })
    expect((await run(now + 2 * DAY_MS)).unused_disabled).toBe(0)
    expect(await secret.events('unused')).toMatchObject([
      {
        id: idOfEvent(secret),
        data: { id: secret.id, disabled: true, updated_at: iso(now) },
        context: { actor: 'system' },
      },
    ])
  })

  test('the unused days of a secret start again after it is enabled, and after a use', async () => {
    const secret = await newSecret()
    await setPolicy(secret, 30)
    await run(inDays(31))
    await secret.patch({ disabled: false })
    const enabledAt = Date.now()
    expect((await run(enabledAt + 29 * DAY_MS)).unused_disabled).toBe(0)
    await env.DB.prepare('UPDATE client_secrets SET last_used_at = ? WHERE id = ?').bind(inDays(20), secret.id).run()
    expect((await run(inDays(49))).unused_disabled).toBe(0)
    expect((await run(inDays(51))).unused_disabled).toBe(1)
  })

  test('cleanup does not disable expired or revoked secrets, or secrets in an environment without a maximum', async () => {
    const none = await newSecret()
    const some = await newSecret({ expires_at: iso(inDays(5)) })
    await setPolicy(some, 1)
    const add = async () => (await call(some.apiKey, 'POST', secretsOf(some.application))).json.id as string
    const revoked = await add()
    await call(some.apiKey, 'DELETE', `/connect/client_secrets/${revoked}`)
    const disabled = await add()
    await call(some.apiKey, 'PATCH', `/connect/client_secrets/${disabled}`, { body: { disabled: true } })
    expect((await run(inDays(6))).unused_disabled).toBe(0)
    expect([...(await none.events('unused')), ...(await some.events('unused'))]).toEqual([])
  })

  test('a reminder and the disabling of the same secret in one run of cleanup are two events', async () => {
    const expiresAt = inDays(40)
    const secret = await newSecret({ expires_at: iso(expiresAt) })
    await setPolicy(secret, 5)
    expect(await run(expiresAt - 30 * DAY_MS)).toMatchObject({ reminders_recorded: 1, unused_disabled: 1 })
    expect([...(await reminders(secret)), ...(await secret.events('unused'))]).toHaveLength(2)
  })

  test('an environment with many secrets delays the check of another environment by at most one pass of cleanup', async () => {
    const large = await newSecret()
    const small = await newSecret()
    await addSecrets(large, 1_600)
    const now = Date.now()
    await run(now)
    for (const secret of [large, small]) await setPolicy(secret, 1)
    // The large one has waited for longer.
    await env.DB.prepare('UPDATE environments SET unused_checked_at = -1 WHERE id = ?').bind(large.environmentId).run()
    const page = (later: number) => cleanUp(operatorDatabase(env.DB), later, 365, 1)
    const later = now + 2 * DAY_MS
    expect((await page(later)).unused_disabled).toBe(500)
    expect((await page(later + 60_000)).unused_disabled).toBe(1)
    expect(await small.events('unused')).toHaveLength(1)
    expect((await run(later + 120_000)).unused_disabled).toBe(1_101)
  })

  test('a run of cleanup checks all secrets of every environment, and the next run on the same day reads almost no rows', async () => {
    const first = await newSecret()
    const second = await newSecret()
    await addSecrets(first, 600)
    const now = Date.now()
    await run(now)
    await setPolicy(first, 1)
    await setPolicy(second, 1)
    const counter = counted(env.DB)
    expect((await run(now + 2 * DAY_MS, counter.database)).unused_disabled).toBe(602)
    const idle = counted(env.DB)
    expect((await run(now + 2 * DAY_MS + 60_000, idle.database)).unused_disabled).toBe(0)
    expect(idle.rowsRead).toBeLessThan(60)
    expect(idle.rowsWritten).toBe(0)
  })
})
