import type * as v from 'valibot'
import { type DescribedError, describeError, errorResponse } from './errors.ts'
import { examples } from './examples.ts'
import { jsonSchemas } from './json-schema.ts'
import { applications, clientSecrets, environments, events, leaks } from './management-routes.ts'
import { unusedWords } from './member-descriptions.ts'
import { oauth, service } from './oauth-routes.ts'
import type { JsonSchema, OpenApi } from './openapi.ts'
import { describeOperation, parameters } from './operation.ts'
import { webhooks } from './webhooks.ts'

const GROUPS = [applications, clientSecrets, environments, events, leaks, oauth, service]

const HEADERS: OpenApi['components']['headers'] = {
  'X-Request-ID': {
    description: 'The ID of this request in the operator’s log. Quote it when you report a problem.',
    schema: { type: 'string' },
  },
  'Server-Timing': {
    description:
      'The time that this request took, in milliseconds: `total` in the Worker, and `db` of it waiting for the database. Your own distance to Cloudflare comes on top.',
    schema: { type: 'string', examples: ['total;dur=21, db;dur=19'] },
  },
  'Idempotent-Replayed': {
    description: '`true` if this is the stored response to an earlier request with the same Idempotency-Key.',
    schema: { type: 'string', const: 'true' },
  },
  'Retry-After': { description: 'Seconds to wait before the next attempt.', schema: { type: 'integer' } },
  'WWW-Authenticate': {
    description: 'The authentication scheme that this endpoint expects (RFC 9110 §11.6.1). Every 401 has it.',
    schema: { type: 'string' },
  },
}

const SECURITY_SCHEMES: OpenApi['components']['securitySchemes'] = {
  api_key: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'sk_…',
    description:
      'An API key of an environment: `Authorization: Bearer sk_…`. A key with `read` access can read and verify; a key with `write` access can make every call; a key with permissions can make the calls that name one of them.',
  },
  client_secret_basic: {
    type: 'http',
    scheme: 'basic',
    description:
      'The client ID as the user name and a client secret as the password (RFC 6749 §2.3.1). Or `client_secret_post`: both as the form fields `client_id` and `client_secret`, without an Authorization header.',
  },
}

/**
 * Makes the document, and lists the errors for the page: those of the operations, and two that no operation can return.
 * Throws if a member has no description, or if a description belongs to no member.
 */
export async function makeDocument(version: string): Promise<{ document: OpenApi; errors: DescribedError[] }> {
  const schemas = componentSchemas()
  const paths: OpenApi['paths'] = {}
  const found = new Map<string, DescribedError>()
  for (const group of GROUPS) {
    for (const [route, facts] of Object.entries(group.routes)) {
      const [method = '', path = ''] = route.split(' ')
      const { operation, errors } = await describeOperation(group, path, facts, schemas)
      paths[path] = { ...paths[path], [method.toLowerCase()]: operation }
      for (const error of errors) found.set(error.name, error)
    }
  }
  const unused = unusedWords()
  if (unused.length > 0)
    throw new Error(`member-descriptions.ts describes members that do not exist: ${unused.join(', ')}`)
  const unrouted = await Promise.all([describeError('not_found', 'api'), describeError('method_not_allowed', 'api')])
  const components = {
    headers: HEADERS,
    parameters,
    schemas,
    responses: Object.fromEntries([...found].map(([name, error]) => [name, errorResponse([error])])),
    examples: Object.fromEntries(
      [...found].map(([name, { status, code, body }]) => [name, { summary: `${status} ${code}`, value: body }]),
    ),
  }
  const document: OpenApi = {
    openapi: '3.1.1',
    info: {
      title: 'Oncekey',
      version,
      description:
        'Oncekey issues OAuth client secrets, shows each secret once and stores only its digest. The API is WorkOS Connect’s: programs written for a WorkOS SDK work when their base URL points here.',
      contact: { name: 'The Oncekey authors' },
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    tags: GROUPS.map(({ name, description }) => ({ name, description })),
    paths,
    webhooks,
    components: { securitySchemes: SECURITY_SCHEMES, ...referenced(paths, components) },
  }
  return { document, errors: [...found.values(), ...unrouted].sort((a, b) => a.status - b.status) }
}

function componentSchemas(): Record<string, JsonSchema> {
  const schemas = Object.assign({}, ...GROUPS.map((group) => group.schemas)) as Record<string, v.GenericSchema>
  const converted = jsonSchemas(mapValues(schemas, membersOfQuery))
  for (const [name, given] of Object.entries(examples)) {
    const schema = converted[name]
    if (!schema) throw new Error(`examples.ts has an example of ${name}, which is not a schema`)
    schema.examples = [...given]
  }
  return { ...converted, OpenApi: { type: 'object' } }
}

/**
 * Returns the object schema of a list's query, and any other schema unchanged. The schema of such a query is a record,
 * whose pipe contains the object schema. Only the object schema has the members.
 */
function membersOfQuery(schema: v.GenericSchema): v.GenericSchema {
  if (schema.type !== 'record' || !('pipe' in schema)) return schema
  const object = (schema.pipe as { type: string }[]).find(({ type }) => type === 'object')
  return (object as v.GenericSchema | undefined) ?? schema
}

/**
 * Keeps only the components that the paths refer to, directly or through other components, because linters reject
 * unused ones.
 */
function referenced<T extends Record<string, Record<string, unknown>>>(paths: object, components: T): T {
  const names = new Set<string>()
  const visit = (value: unknown) => {
    for (const [, kind = '', name = ''] of JSON.stringify(value).matchAll(/"#\/components\/(\w+)\/([^"]+)"/g)) {
      if (names.has(`${kind}/${name}`)) continue
      names.add(`${kind}/${name}`)
      visit(components[kind]?.[name])
    }
  }
  visit(paths)
  return mapValues(components, (all, kind) =>
    Object.fromEntries(Object.entries(all).filter(([name]) => names.has(`${kind}/${name}`))),
  ) as T
}

function mapValues<T, U>(
  record: Readonly<Record<string, T>>,
  change: (value: T, name: string) => U,
): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value, name)]))
}
