import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import { call, newApiKey, newApplication, type Reply } from '../api.ts'
import { advance, stopClock } from '../clock.ts'
import { iso, secretsOf } from '../requests.ts'

/** `name` and `expires_at` of a secret: their rules, on creation and afterwards, and their absence by default. */
const { apiKey, environmentId } = await newApiKey()
const reader = await newApiKey({ access: 'read', environmentId })
const HOUR_MS = 60 * 60 * 1000

let application: string
let path: string

beforeEach(async () => {
  stopClock()
  application = (await newApplication(apiKey)).id
  path = secretsOf(application)
})

const create = (body?: object, headers = {}) => call(apiKey, 'POST', path, { body, headers })
const list = async () => (await call(apiKey, 'GET', path)).json
const patch = (id: string, body: object) => call(apiKey, 'PATCH', `/connect/client_secrets/${id}`, { body })

const count = async (table: string, where: string, value: string) =>
  (await env.DB.prepare(`SELECT count(*) AS n FROM ${table} WHERE ${where} = ?`).bind(value).first<{ n: number }>())?.n

function expectInvalid({ status, json }: Reply, field: string, kind: string, words: RegExp) {
  expect([status, json]).toEqual([
    422,
    {
      message: expect.any(String),
      code: 'invalid_request_parameters',
      errors: [{ field, code: `${field}_${kind}`, message: expect.stringMatching(words) }],
    },
  ])
}

/** Sends a field on creation and on update: the same must come of it. */
async function expectTaken(field: string, value: unknown, becomes: unknown) {
  const created = await create({ [field]: value })
  expect([created.status, created.json[field]], created.text).toEqual([201, becomes])
  const other = (await create()).json.id
  const updated = await patch(other, { [field]: value })
  expect([updated.status, updated.json[field]], updated.text).toEqual([200, becomes])
  expect((await list()).map((secret: Record<string, unknown>) => secret[field])).toEqual([becomes, becomes])
}

async function expectRefused(field: string, value: unknown, kind: string, words: RegExp) {
  const { id } = (await create()).json
  const before = [await list(), await count('events', `data ->> 'application_id'`, application)]
  const replies = [await create({ [field]: value }), await patch(id, { [field]: value })]
  for (const reply of replies) {
    expectInvalid(reply, field, kind, words)
    if (typeof value === 'string' && value.length > 10) expect(reply.text).not.toContain(JSON.stringify(value))
  }
  expect([await list(), await count('events', `data ->> 'application_id'`, application)]).toEqual(before)
}

const MEMBERS = ['object', 'id', 'secret_hint', 'last_used_at', 'created_at', 'updated_at']

test.each([
  ['no body', undefined],
  ['{}', {}],
  ['nulls', { name: null, expires_at: null }],
  [
    'members that a caller may not set',
    { disabled: true, disabled_at: 1, is_retiring: 1, last_used_at: '2030-01-01T00:00:00Z' },
  ],
])('a secret created with %s has exactly the members of WorkOS’s API', async (_, body) => {
  const { json } = await create(body)
  expect(Object.keys(json)).toEqual([...MEMBERS, 'secret'])
  expect((await list()).map(Object.keys)).toEqual([MEMBERS])
})

test('the settings of a new secret are in the response, the list and the event', async () => {
  const settings = { name: 'Production', expires_at: iso(Date.now() + HOUR_MS) }
  const { secret, ...rest } = (await create(settings)).json
  expect(rest).toMatchObject(settings)
  expect(Object.keys(rest)).toEqual([...MEMBERS, 'name', 'expires_at'])
  expect(await list()).toEqual([rest])
  const data = await env.DB.prepare(`SELECT data FROM events WHERE data ->> 'id' = ?`)
    .bind(rest.id)
    .first<string>('data')
  expect(JSON.parse(data ?? '')).toMatchObject({ name: 'Production', expires_at: Date.now() + HOUR_MS })
  expect(data).not.toContain(secret)
})

describe('the name of a secret', () => {
  test.each([
    ['one character', 'x'],
    ['100 characters', 'x'.repeat(100)],
    ['100 characters of two UTF-16 units', '🔑'.repeat(100)],
    ['spaces around it', '  Nightly export '],
    ['a composed letter (NFC)', 'Caf\u00e9'],
    ['a decomposed letter (NFD)', 'Cafe\u0301'],
    ['characters that are special in SQL and HTML', `'); DROP TABLE client_secrets; --<script>%_\\"`],
  ])('a name with %s is stored byte for byte', async (_, name) => {
    await expectTaken('name', name, name)
  })

  test.each<[string, unknown, string, RegExp]>([
    ['of 101 characters', 'x'.repeat(101), 'too_long', /^name must have at most 100 characters/],
    ['of 300 characters', 'x'.repeat(300), 'too_long', /^name must have at most 100 characters/],
    ['that is empty', '', 'blank', /blank/],
    ['of spaces', ' \u3000', 'blank', /blank/],
    ['with NUL', 'a\0b', 'control_character', /control characters/],
    ['with a line end', 'a\nb', 'control_character', /control characters/],
    ['with DEL', 'a\x7fb', 'control_character', /control characters/],
    ['with an API key', `made with ${apiKey}`, 'contains_credential', /credential/],
    ['with a lone surrogate', 'a\ud83db', 'malformed', /well-formed/],
    ['that is a number', 7, 'invalid', /a string/],
    ['that is an array', ['x'], 'invalid', /a string/],
    ['that is an object', { toString: 'x' }, 'invalid', /a string/],
    ['that is false', false, 'invalid', /a string/],
  ])('a name %s is refused', async (_, name, kind, words) => {
    await expectRefused('name', name, kind, words)
  })
})

describe('the expires_at of a secret', () => {
  test.each([
    ['2031-01-31T12:00:00Z', '2031-01-31T12:00:00.000Z'],
    ['2031-01-31t12:00:00z', '2031-01-31T12:00:00.000Z'],
    ['2031-01-31 12:00:00Z', '2031-01-31T12:00:00.000Z'],
    ['2031-01-31 12:00:00.25+00:00', '2031-01-31T12:00:00.250Z'],
    ['2031-01-31t12:00:00.1234567890123456789-03:30', '2031-01-31T15:30:00.123Z'],
    ['2031-01-31T12:00:00.5Z', '2031-01-31T12:00:00.500Z'],
    ['2031-01-31T12:00:00.123456789Z', '2031-01-31T12:00:00.123Z'],
    ['2031-01-31T12:00:00+05:30', '2031-01-31T06:30:00.000Z'],
    ['2031-01-31T20:00:00-05:00', '2031-02-01T01:00:00.000Z'],
    ['2031-01-31T12:00:00-00:00', '2031-01-31T12:00:00.000Z'],
    ['2032-02-29T00:00:00Z', '2032-02-29T00:00:00.000Z'],
    ['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
  ])('%s is accepted and returned as %s', async (given, becomes) => {
    await expectTaken('expires_at', given, becomes)
  })

  test.each<[string, unknown]>([
    ['that is empty', ''],
    ['that is a word', 'tomorrow'],
    ['that is a date without a time', '2031-01-31'],
    ['without a time zone', '2031-01-31T12:00:00'],
    ['without seconds', '2031-01-31T12:00Z'],
    ['with a time zone by name', '2031-01-31T12:00:00 CET'],
    ['with an offset without minutes', '2031-01-31T12:00:00+05'],
    ['with month 13', '2031-13-01T00:00:00Z'],
    ['with February 30', '2031-02-30T00:00:00Z'],
    ['with February 29 in a common year', '2031-02-29T00:00:00Z'],
    ['with an offset of 24 hours', '2031-01-31T12:00:00+24:00'],
    ['with an offset of 60 minutes', '2031-01-31T12:00:00+01:60'],
    ['with an offset without a colon', '2031-01-31T12:00:00+0100'],
    ['with minute 60', '2031-01-31T12:60:00Z'],
    ['with an empty fraction', '2031-01-31T12:00:00.Z'],
    ['with a decimal comma', '2031-01-31T12:00:00,5Z'],
    ['with two spaces', '2031-01-31  12:00:00Z'],
    ['with white space around it', ' 2031-01-31T12:00:00Z'],
    ['with hour 24', '2031-01-31T24:00:00Z'],
    ['with a leap second', '2031-06-30T23:59:60Z'],
    ['of the year 10000, in UTC', '9999-12-31T23:59:59-12:00'],
    ['of a year with six digits', '+012031-01-01T00:00:00Z'],
    ['in the format of e-mail', 'Fri, 31 Jan 2031 12:00:00 GMT'],
    ['with a line end', '2031-01-31T12:00:00Z\n'],
    ['in digits of another script', '２０31-01-31T12:00:00Z'],
  ])('an expires_at %s is refused as malformed', async (_, time) => {
    await expectRefused(
      'expires_at',
      time,
      'malformed',
      /^expires_at must be an RFC 3339 timestamp with seconds and a time zone/,
    )
  })

  test.each([1927454400000, 0, true, ['2031-01-31T12:00:00Z'], {}])(
    'an expires_at of the wrong type is refused: %j',
    async (time) => {
      await expectRefused('expires_at', time, 'invalid', /a string/)
    },
  )

  test.each([
    ['this very moment', 0],
    ['a millisecond ago', -1],
    ['an hour ago', -HOUR_MS],
  ])('an expires_at of %s is refused as past, in any time zone', async (_, ms) => {
    const local = iso(Date.now() + ms + 14 * HOUR_MS).replace('Z', '+14:00')
    for (const time of [iso(Date.now() + ms), local]) await expectRefused('expires_at', time, 'past', /in the future/)
  })

  test.each(['0000-01-01T00:00:00Z', '0099-12-31T23:59:59Z', '1969-12-31T23:59:59Z', '1970-01-01T00:00:00Z'])(
    'an expires_at of %s is refused as past',
    async (time) => {
      await expectRefused('expires_at', time, 'past', /in the future/)
    },
  )

  test('an expires_at that is a millisecond ahead is accepted', async () => {
    const time = iso(Date.now() + 1)
    await expectTaken('expires_at', time, time)
  })

  test('a missing permission takes precedence over a past expires_at, which takes precedence over an unknown application or a reached limit', async () => {
    const body = { expires_at: '2001-01-01T00:00:00Z' }
    const unknown = await call(apiKey, 'POST', '/connect/applications/unknown/client_secrets', { body })
    expectInvalid(unknown, 'expires_at', 'past', /in the future/)
    for (let i = 0; i < 5; i++) expect((await create()).status).toBe(201)
    expectInvalid(await create(body), 'expires_at', 'past', /in the future/)
    expect((await call(reader.apiKey, 'POST', path, { body })).status).toBe(403)
  })

  test('two invalid settings are both listed in the errors', async () => {
    const { json } = await create({ name: '', expires_at: '' })
    expect(json.errors.map(({ code }: { code: string }) => code)).toEqual(['name_blank', 'expires_at_malformed'])
  })
})

describe('a replay of a create with settings', () => {
  let headers: Record<string, string>
  beforeEach(() => {
    headers = { 'Idempotency-Key': crypto.randomUUID() }
  })
  const minutes = (n: number) => n * 60_000

  async function expectReplay(body: object, first: Reply) {
    const again = await create(body, headers)
    expect([again.status, again.headers.get('Idempotent-Replayed'), again.text]).toEqual([201, 'true', first.text])
    expect(await count('client_secrets', 'application_id', application)).toBe(1)
  }

  test('a replay returns the settings as they were at creation', async () => {
    const body = { name: 'First', expires_at: iso(Date.now() + HOUR_MS) }
    const first = await create(body, headers)
    advance(1)
    await patch(first.json.id, { name: 'Second', expires_at: null })
    await expectReplay(body, first)
    expect(await list()).toMatchObject([{ name: 'Second' }])
  })

  test('a replay is refused if the secret has expired', async () => {
    const body = { expires_at: iso(Date.now() + minutes(1)) }
    await create(body, headers)
    for (const later of [minutes(1), minutes(58)]) {
      advance(later)
      const { status, json } = await create(body, headers)
      expect([status, json.code]).toEqual([422, 'client_secret_expired'])
    }
    expect(await list()).toEqual([])
  })

  test('after an hour, the same request is a new request, and is refused if its expires_at is past', async () => {
    const body = { expires_at: iso(Date.now() + minutes(1)) }
    await create(body, headers)
    advance(HOUR_MS)
    expectInvalid(await create(body, headers), 'expires_at', 'past', /in the future/)
  })

  test.each([{}, { name: 'Other' }, { name: 'First', expires_at: '2031-01-01T00:00:00Z' }])(
    'the same Idempotency-Key with other settings is refused: %j',
    async (other) => {
      await create({ name: 'First' }, headers)
      const reply = await create(other, headers)
      expect([reply.status, reply.json.code]).toEqual([422, 'idempotency_key_reused'])
      expect(await count('client_secrets', 'application_id', application)).toBe(1)
    },
  )
})
