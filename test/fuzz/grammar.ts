import fc from 'fast-check'
import { NAUGHTY } from '../connect/naughty-strings.ts'
import { ROUTES } from './routes.ts'

/** One request as it is sent, but for what only a run knows: `{…}` stands for a value of the run, such as an ID. */
export interface FuzzRequest {
  readonly method: string
  readonly path: string
  readonly query: readonly (readonly [name: string, value: string])[]
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | null
}

/** The values of the run that a request can name. */
const PLACEHOLDERS = [
  'application',
  'client',
  'secret',
  'event',
  'foreignApplication',
  'foreignSecret',
  'unknownApplication',
  'unknownSecret',
  'otherRegion',
  'plaintext',
  'canary',
] as const
export type Placeholder = (typeof PLACEHOLDERS)[number]

const placeholder = fc.constantFrom(...PLACEHOLDERS).map((name) => `{${name}}`)
const naughty = fc.constantFrom(...Object.values(NAUGHTY).flat())
const text = fc.oneof(
  { weight: 4, arbitrary: placeholder },
  { weight: 3, arbitrary: naughty },
  { weight: 2, arbitrary: fc.string({ maxLength: 40 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
  { weight: 1, arbitrary: fc.nat({ max: 300 }).map((length) => 'x'.repeat(length)) },
  { weight: 1, arbitrary: fc.date({ noInvalidDate: true }).map((date) => date.toISOString()) },
)

/** Members of every body and form, and parameters of every query, whatever the route. */
const FIELDS = [
  ...[
    'name',
    'description',
    'application_type',
    'organization_id',
    'scopes',
    'redirect_uris',
    'uses_pkce',
    'is_first_party',
  ],
  ...[
    'expires_at',
    'disabled',
    'grace_period_seconds',
    'client_secret',
    'client_id',
    'hint',
    'limit',
    'order',
    'before',
    'after',
  ],
  ...['events', 'range_start', 'range_end', 'state', 'sort', 'registration_types', 'search', 'to', 'notice', 'cursor'],
  ...[
    'grant_type',
    'scope',
    'token',
    'api_key',
    'environment',
    'grace',
    'lifetime',
    'confirmation',
    'event',
    'secret',
    'type',
  ],
  ...['__proto__', 'constructor', 'toString', '', 'limit[]', 'a.b'],
]
const field = fc.constantFrom(...FIELDS)

const json = fc.oneof(
  { weight: 5, arbitrary: text },
  { weight: 1, arbitrary: fc.constantFrom(null, true, false, 0, -1, 1.5, 1e21, 2 ** 53, 86_400) },
  { weight: 1, arbitrary: fc.array(text, { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.array(fc.record({ uri: text, default: fc.boolean() }), { maxLength: 2 }) },
  { weight: 1, arbitrary: fc.dictionary(field, text, { maxKeys: 2 }) },
)

/** Bodies that are likely to succeed, so that refusals are not all that is tried. */
const VALID = [
  { name: 'x', application_type: 'm2m', organization_id: 'org_1' },
  {
    name: 'x',
    application_type: 'oauth',
    is_first_party: true,
    redirect_uris: [{ uri: 'https://a.example/', default: true }],
  },
  {},
  { name: 'y' },
  { expires_at: null },
  { disabled: false },
  { grace_period_seconds: 60 },
  { client_secret: '{plaintext}', client_id: '{client}' },
]

const MALFORMED = [
  ...[
    '{',
    '}',
    '[',
    '{"a":}',
    '{"a":1,}',
    "{'a':1}",
    '{"a":1}{}',
    'NaN',
    'undefined',
    '\uFEFF{}',
    '{"a":01}',
    '"',
    'nul',
  ],
  ...[
    '{"name":"a","name":"b"}',
    '{"__proto__":{"access":"write"}}',
    '['.repeat(5_000),
    `"${'\\ud800'}"`,
    '{"a":"\\x"}',
  ],
  `{"name":"${'y'.repeat(70_000)}"}`,
]

const jsonBody = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.constantFrom(...VALID), fc.dictionary(field, json, { maxKeys: 3 }))
      .map(([valid, changes]) => JSON.stringify({ ...valid, ...changes })),
  },
  { weight: 1, arbitrary: fc.constantFrom(...MALFORMED) },
  { weight: 1, arbitrary: json.map((value) => JSON.stringify(value)) },
)
const formBody = fc
  .array(fc.tuple(field, text), { maxLength: 6 })
  .map((fields) => new URLSearchParams(fields.map(([name, value]) => [name, value.toWellFormed()])).toString())

const plainHeader = text.map((value) => value.replace(/[^\x20-\x7e]/g, '').trim())
const headers = fc.record(
  {
    Authorization: fc.oneof(
      { weight: 6, arbitrary: fc.constant('{bearer}') },
      {
        weight: 2,
        arbitrary: fc.constantFrom('{basic}', '{reader}', '{wrongBasic}', 'Bearer', 'Basic !', 'Bearer {canary}'),
      },
      { weight: 1, arbitrary: plainHeader },
    ),
    Cookie: fc.constantFrom('{cookie}', '{cookie}', 'notice=deleted', '__proto__=1; =; ;', 'session={canary}'),
    Origin: fc.constantFrom('{origin}', '{origin}', '{origin}', 'https://evil.example', 'null'),
    'Content-Type': fc.constantFrom(
      ...[
        'application/json',
        'application/x-www-form-urlencoded',
        'application/json; charset=utf-16',
        'text/plain',
        'multipart/form-data',
      ],
    ),
    Accept: fc.constantFrom('*/*', 'text/html,application/xhtml+xml', 'application/json;q=0', ''),
    'Idempotency-Key': plainHeader,
    'X-Request-ID': plainHeader,
    'If-None-Match': fc.constant('*'),
    Range: fc.constant('bytes=0-1'),
    'User-Agent': plainHeader,
  },
  { requiredKeys: [] },
)

/** Requests of every route, with the method of another one now and then. */
export const fuzzRequest: fc.Arbitrary<FuzzRequest> = fc.constantFrom(...ROUTES).chain(([method, path]) => {
  const isForm = /^\/(dashboard|oauth2)/.test(path)
  const usual = {
    ...(isForm ? { Cookie: '{cookie}', Origin: '{origin}' } : { Authorization: '{bearer}' }),
    ...(path.startsWith('/oauth2') && { Authorization: '{basic}' }),
    ...(method !== 'GET' && { 'Content-Type': isForm ? 'application/x-www-form-urlencoded' : 'application/json' }),
  }
  const parameter = fc.oneof({ weight: 5, arbitrary: fc.constant('') }, { weight: 2, arbitrary: text })
  return fc.record({
    method: fc.oneof(
      { weight: 15, arbitrary: fc.constant(method) },
      { weight: 1, arbitrary: fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD') },
    ),
    path: fc.tuple(parameter, parameter).map(([first, second]) => filled(path, [first, second])),
    query: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      { weight: 2, arbitrary: fc.array(fc.tuple(field, text), { maxLength: 4 }) },
    ),
    headers: fc.oneof(
      { weight: 3, arbitrary: fc.constant(usual) },
      { weight: 2, arbitrary: headers.map((some) => ({ ...usual, ...some })) },
      { weight: 1, arbitrary: headers },
    ),
    body: method === 'GET' ? fc.constant(null) : fc.option(isForm ? formBody : jsonBody, { freq: 8 }),
  })
})

/** The path with a value for each parameter: those given, or what the route asks for. */
function filled(path: string, values: readonly string[]): string {
  let i = 0
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[i++]
    if (value) return encoded(value)
    if (name === 'client_id') return '{client}'
    if (name === 'event') return '{event}'
    return name === 'secret' || path.includes('/client_secrets/{') ? '{secret}' : '{application}'
  })
}

/** Percent-encoded, but for placeholders. */
function encoded(value: string): string {
  return /^\{\w+\}$/.test(value) ? value : encodeURIComponent(value.toWellFormed())
}
