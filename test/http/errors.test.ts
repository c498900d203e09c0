import { env } from 'cloudflare:workers'
import * as v from 'valibot'
import { describe, expect, test, vi } from 'vitest'
import { describeIssue, rule } from '../../src/contract/rules.ts'
import { issueCredential } from '../../src/credential/credential.ts'
import { call, m2mApplication, newApiKey, newApplication, send } from '../api.ts'
import { withBatch } from '../faults/wrapped.ts'

const { apiKey } = await newApiKey()
const application = await newApplication(apiKey)

describe('the input in an error', () => {
  const CANARY = 'canary-7f3a'

  test.each<[string, () => ReturnType<typeof call>]>([
    ['malformed JSON', () => send(raw(`{"name":"${CANARY}`))],
    ['a body that is not an object', () => call(apiKey, 'POST', '/connect/applications', { body: CANARY })],
    ['a name that is too long', () => create({ name: CANARY.repeat(100) })],
    ['a scope that is malformed', () => create({ scopes: [`${CANARY} "`] })],
    ['a repeated scope', () => create({ scopes: [CANARY, CANARY] })],
    ['a malformed organization ID', () => create({ organization_id: CANARY })],
    ['an unknown type', () => create({ application_type: CANARY })],
    [
      'a malformed redirect URI',
      () => create({ application_type: 'oauth', is_first_party: false, redirect_uris: [{ uri: CANARY }] }),
    ],
    ['a flag that is not a boolean', () => create({ application_type: 'oauth', is_first_party: CANARY })],
    ['an unknown cursor', () => call(apiKey, 'GET', `/connect/applications?after=${CANARY}`)],
    ['a limit that is not a number', () => call(apiKey, 'GET', `/connect/applications?limit=${CANARY}`)],
    ['an unknown order', () => call(apiKey, 'GET', `/connect/applications?order=${CANARY}`)],
    ['an unknown registration type', () => call(apiKey, 'GET', `/connect/applications?registration_types=${CANARY}`)],
    [
      'a malformed Idempotency-Key',
      () =>
        call(apiKey, 'POST', '/connect/applications', {
          body: m2mApplication,
          headers: { 'Idempotency-Key': `${CANARY} x` },
        }),
    ],
    ['an unknown route', () => call(apiKey, 'GET', `/connect/${CANARY}`)],
    ['a malformed API key', () => call(CANARY, 'GET', '/connect/applications')],
  ])('an error does not repeat invalid input: %s', async (_, request) => {
    const { status, text } = await request()
    expect(status).toBeGreaterThanOrEqual(400)
    expect(text).not.toContain(CANARY)
  })

  test('an error repeats the first 50 characters of an unknown ID, and cuts no character in two', async () => {
    expect(await entityId('unknown')).toBe('unknown')
    expect(await entityId('x_'.repeat(51))).toBe('x_'.repeat(25))
    expect(await entityId(`x${'😀'.repeat(200)}`)).toBe(`x${'😀'.repeat(49)}`)
  })

  test.each<[string, (credential: string) => string]>([
    ['a credential', (credential) => credential],
    ['a credential with a line end', (credential) => `${credential}\n`],
    ['a credential behind other text', (credential) => `Bearer ${credential}`],
    ['a credential without its last two characters', (credential) => credential.slice(0, -2)],
    ['a credential without its prefix', (credential) => credential.slice(3)],
    ['the first 45 characters of a credential', (credential) => credential.slice(0, 45)],
  ])('an error does not repeat an unknown ID that is %s', async (_, id) => {
    for (const prefix of ['cs', 'sk']) {
      const { plaintext } = await issueCredential(prefix, '0')
      expect(await entityId(id(plaintext))).toBeUndefined()
    }
  })

  const entityId = async (id: string) => {
    const { status, json } = await call(apiKey, 'GET', `/connect/applications/${encodeURIComponent(id)}`)
    expect(status).toBe(404)
    return json.entity_id
  }

  test('a 422 lists at most twenty errors, each with its field', async () => {
    const { json } = await create({ scopes: Array(50).fill(''), name: '' })
    expect(json.code).toBe('invalid_request_parameters')
    expect(json.errors).toHaveLength(20)
    for (const { field, code, message } of json.errors)
      expect([field, code, message].every((text) => typeof text === 'string' && text)).toBe(true)
  })

  const create = (body: object) =>
    call(apiKey, 'POST', '/connect/applications', { body: { ...m2mApplication, ...body } })
  const raw = (body: string) =>
    new Request('https://oncekey.test/connect/applications', {
      method: 'POST',
      headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
      body,
    })
})

describe('an unexpected error appears in the log only', () => {
  const logged = vi.spyOn(console, 'error').mockImplementation(() => {})

  test.each<[string, number, Partial<Env>]>([
    ['a failing database', 503, { DB: withBatch(env.DB, () => Promise.reject(new Error('the cause'))) }],
    [
      'a database binding that throws',
      503,
      {
        DB: withBatch(env.DB, () => {
          throw new TypeError('the cause')
        }),
      },
    ],
    [
      'a malformed database result',
      500,
      {
        DB: withBatch(env.DB, async (_, statements) =>
          statements.map(() => ({ results: [{ caller_id: 'x', permissions: 'the cause' }] })),
        ),
      },
    ],
  ])('the response to %s has the status %i, and the cause is only in the log', async (_, expected, bindings) => {
    logged.mockClear()
    const { status, text, headers } = await call(apiKey, 'GET', `/connect/applications/${application.id}`, {
      bindings,
    })
    expect(status).toBe(expected)
    expect(text).not.toMatch(/cause|Error|JSON|stack|at /)
    expect(logged).toHaveBeenCalledTimes(1)
    const entry = logged.mock.calls[0]?.[0]
    expect(entry).toMatchObject({
      message: expected === 503 ? 'service_unavailable' : 'internal_error',
      request_id: headers.get('X-Request-ID'),
    })
    expect(entry.error).toContain('cause')
  })
})

test.each([
  ['GET', '', 'The database did not respond in time. Nothing was changed. Try again.'],
  ['POST', '/client_secrets', 'the outcome is unknown. Retry with the same Idempotency-Key.'],
  ['DELETE', '', 'the outcome is unknown. Send the same request again.'],
])(
  'a 503 for a %s request says whether something may have changed, and what to do next',
  async (method, path, words) => {
    vi.spyOn(console, 'error').mockImplementation(() => {})
    const DB = withBatch(env.DB, () => Promise.reject(new Error('D1_ERROR: D1 DB is overloaded.')))
    const url = `/connect/applications/${application.id}${path}`
    const { status, json } = await call(apiKey, method, url, { bindings: { DB } })
    expect(status).toBe(503)
    expect(json.message).toContain(words)
  },
)

test.each([
  ["exceeded D1's free tier daily row read limit.", '23:59:30.000', 30],
  ["exceeded D1's free tier daily row read limit.", '23:59:59.999', 1],
  ["exceeded D1's free tier daily row read limit.", '00:00:00.000', 86_400],
  ['Exceeded maximum DB size.', '23:59:30.000', 60],
  ['database disk image is malformed: SQLITE_CORRUPT', '23:59:30.000', 60],
])(
  'Retry-After is the time until midnight UTC for the daily limit, and a minute for other permanent errors: %s at %s',
  async (message, time, seconds) => {
    vi.spyOn(console, 'error').mockImplementation(() => {})
    vi.setSystemTime(`2030-01-15T${time}Z`)
    const DB = withBatch(env.DB, () => Promise.reject(new Error(`D1_ERROR: ${message}`)))
    const { status, headers } = await call(apiKey, 'GET', '/connect/applications', { bindings: { DB } })
    vi.useRealTimers()
    expect([status, headers.get('Retry-After')]).toEqual([503, String(seconds)])
  },
)

describe('an invalid parameter', () => {
  const issuesOf = (schema: v.GenericSchema, value: unknown) => v.safeParse(schema, value).issues?.map(describeIssue)
  const short = v.pipe(v.string(), v.maxLength(3, rule('name_too_long')))

  test.each<[string, v.GenericSchema, unknown, object]>([
    [
      'with the code and the message of the rule that it breaks',
      v.object({ name: short }),
      { name: 'long' },
      { field: 'name', code: 'name_too_long', message: 'name must have at most 255 characters.' },
    ],
    [
      'by its path, and with a code without the indexes',
      v.object({ a: v.array(v.object({ b: short })) }),
      { a: [{ b: '' }, { b: 'long' }] },
      { field: 'a.1.b', code: 'a_b_too_long', message: 'a.1.b must have at most 255 characters.' },
    ],
    [
      'by its path, and with a code without the index, in a body that is a list',
      v.array(v.object({ a: short })),
      [{ a: '' }, { a: 'long' }],
      { field: '1.a', code: 'a_too_long', message: '1.a must have at most 255 characters.' },
    ],
    [
      'as a member of a list, with a code without a name',
      v.array(short),
      ['long'],
      { field: '0', code: 'too_long', message: '0 must have at most 255 characters.' },
    ],
    [
      'as "required" if it is absent',
      v.object({ name: short }),
      {},
      { field: 'name', code: 'name_required', message: 'name is required.' },
    ],
    ...(
      [
        [short, 5, 'a string'],
        [v.number(), 'x', 'a number'],
        [v.boolean(), 'x', 'true or false'],
        [v.array(short), 'x', 'an array'],
        [v.object({}), 'x', 'an object'],
      ] as const
    ).map(([member, value, type]): [string, v.GenericSchema, unknown, object] => [
      `with the type that it must have: ${type}`,
      v.object({ name: member }),
      { name: value },
      { field: 'name', code: 'name_invalid', message: `name must be ${type}.` },
    ]),
    [
      'as not valid if it breaks a rule without a text',
      v.object({
        name: v.pipe(
          v.string(),
          v.check((name) => name === ''),
        ),
      }),
      { name: 'long' },
      { field: 'name', code: 'name_invalid', message: 'name is not valid.' },
    ],
    [
      'with the values that it may have',
      v.object({ type: v.picklist(['m2m', 'oauth']) }),
      { type: 'x' },
      { field: 'type', code: 'type_invalid', message: 'type must be "m2m" or "oauth".' },
    ],
    [
      'as the body if it has no path',
      v.object({}),
      'text',
      { field: '', code: 'invalid', message: 'The body must be an object.' },
    ],
  ])('an invalid parameter is reported %s', (_, schema, value, expected) =>
    expect(issuesOf(schema, value)).toEqual([expected]),
  )
})
