import type * as v from 'valibot'
import { examples } from './examples.ts'
import { events } from './groups/events.ts'
import { applications, clientSecrets } from './groups/management.ts'
import { oauth } from './groups/oauth.ts'
import { service } from './groups/service.ts'
import { jsonSchemas } from './json-schema.ts'
import type { JsonSchema, OpenApi, Operation } from './openapi.ts'
import { describeOperation, parameters } from './operation.ts'
import { type Refusal, refusal, response } from './refusals.ts'
import { unusedWords } from './words.ts'

const GROUPS = [applications, clientSecrets, events, oauth, service]

const HEADERS: OpenApi['components']['headers'] = {
  'X-Request-ID': {
    description:
      'Names the request, in the answer as in the log. Give it to whoever runs this when something is wrong.',
    schema: { type: 'string' },
  },
  'Idempotent-Replayed': {
    description: '`true` where the same request had been answered before, and nothing was made now.',
    schema: { type: 'string', const: 'true' },
  },
  'Retry-After': { description: 'Seconds to wait before the request is sent again.', schema: { type: 'integer' } },
  'WWW-Authenticate': { description: 'How to authenticate (RFC 9110 §11.6.1).', schema: { type: 'string' } },
  Allow: { description: 'The methods that the path serves.', schema: { type: 'string' } },
}

const SECURITY_SCHEMES = {
  api_key: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'sk_…',
    description:
      'An API key of an environment: `Authorization: Bearer sk_…`. One with `read` access may read and verify, one with `write` access may do all.',
  },
  client_secret_basic: {
    type: 'http',
    scheme: 'basic',
    description:
      'The client id as the user name, a client secret as the password (RFC 6749 §2.3.1), raw or percent-encoded.',
  },
  client_secret_post: {
    type: 'oauth2',
    flows: { clientCredentials: { tokenUrl: '/oauth2/token', scopes: {} } },
    description: '`client_id` and `client_secret` as parameters of the form, and no Authorization header.',
  },
}

/** Makes the document. Throws where it would be silent about something, or say something of nothing. */
export async function makeDocument(version: string): Promise<OpenApi> {
  const schemas = componentSchemas()
  const paths: Record<string, Record<string, Operation>> = {}
  const refusals = new Map<string, Refusal>()
  for (const group of GROUPS) {
    for (const [route, about] of Object.entries(group.routes)) {
      const [method = '', path = ''] = route.split(' ')
      const described = await describeOperation(group, path, about, schemas)
      paths[path] = { ...paths[path], [method.toLowerCase()]: described.operation }
      for (const refusal of described.refusals) refusals.set(refusal.name, refusal)
    }
  }
  // What no operation can meet.
  for (const code of ['not_found', 'method_not_allowed'] as const) refusals.set(code, await refusal(code, 'api'))
  const all = [...refusals.values()].sort((a, b) => a.status - b.status)
  const unused = unusedWords()
  if (unused.length > 0) throw new Error(`words.ts has words for what is not there: ${unused.join(', ')}`)
  const queries = GROUPS.flatMap(({ routes }) => Object.values(routes).flatMap(({ query }) => query ?? []))
  return {
    openapi: '3.1.1',
    info: {
      title: 'Oncekey',
      version,
      description:
        'Issues OAuth client secrets: shows each once, keeps its digest, and verifies it from then on. Speaks WorkOS Connect’s contract, so that its SDKs work when their base URL points here.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    tags: GROUPS.map(({ name, description }) => ({ name, description })),
    paths,
    components: {
      securitySchemes: SECURITY_SCHEMES,
      headers: HEADERS,
      parameters,
      schemas: Object.fromEntries(Object.entries(schemas).filter(([name]) => !queries.includes(name))),
      responses: Object.fromEntries(all.map((refusal) => [refusal.name, response([refusal])])),
      examples: Object.fromEntries(
        all.map(({ name, status, code, body }) => [name, { summary: `${status} ${code}`, value: body }]),
      ),
    },
  }
}

function componentSchemas(): Record<string, JsonSchema> {
  const given = Object.assign({}, ...GROUPS.map((group) => group.schemas)) as Record<string, v.GenericSchema>
  const made = jsonSchemas(mapValues(given, readSchema))
  for (const name of Object.keys(examples))
    if (!made[name]) throw new Error(`examples.ts has one of no schema: ${name}`)
  const withExamples = Object.entries(made).map(([name, schema]) => {
    const found = examples[name]
    return [name, { ...schema, ...(found && { examples: found }) }] as const
  })
  return { ...Object.fromEntries(withExamples), OpenApi: { type: 'object' } }
}

/** The schema of a query's members, where others come before it to read lists. */
function readSchema(schema: v.GenericSchema): v.GenericSchema {
  if (schema.type !== 'record' || !('pipe' in schema)) return schema
  const object = (schema.pipe as { type: string }[]).find(({ type }) => type === 'object')
  return (object as v.GenericSchema | undefined) ?? schema
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]))
}
