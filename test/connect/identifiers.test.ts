import { env } from 'cloudflare:workers'
import { afterAll, describe, expect, test } from 'vitest'
import { app } from '../../src/app.ts'
import { newId } from '../../src/credential/id.ts'
import { call, newApiKey, newApplication } from '../api.ts'
import { size } from '../sizes.ts'
import { NAUGHTY } from './naughty-strings.ts'

/** Ids are opaque: whatever stands where one is asked for, and is none, is 404, never 422 or 500, and does nothing. */
const { apiKey, id: keyId, environmentId } = await newApiKey()
const application = await newApplication(apiKey)
const secret = (await call(apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`)).json
const eventId = await env.DB.prepare('SELECT id FROM events WHERE environment_id = ?')
  .bind(environmentId)
  .first<string>('id')

const routes = [...new Set(app.routes.map(({ method, path }) => `${method} ${path}`))].filter((route) =>
  / \/connect\/.*:id/.test(route),
)
/** Bodies that would be right if the id were. */
const BODIES: Record<string, object> = { PUT: { name: 'changed' }, PATCH: { name: 'changed' }, POST: {} }

async function everything() {
  const tables = [
    'sqlite_schema',
    'environments',
    'api_keys',
    'applications',
    'client_secrets',
    'events',
    'idempotency_records',
  ]
  const columns = (table: string) => (table === 'api_keys' ? 'id, environment_id, revoked_at' : '*')
  const results = await env.DB.batch(tables.map((table) => env.DB.prepare(`SELECT ${columns(table)} FROM ${table}`)))
  return results.map(({ results }) => results)
}
const before = await everything()

afterAll(async () => {
  expect(await everything()).toEqual(before)
})

/** In the short run an ID is tried at every third route, beginning with another one each time, and every third string. */
let ids = 0
const STRIDE = size(3, 1)

/** Sends an id as it is, percent-encoding and all. */
async function expectUnknown(raw: string, decoded: string, tried = routes) {
  const first = tried.length > 1 ? ids++ % STRIDE : 0
  for (const [i, route] of tried.entries()) {
    if (tried.length > 1 && i % STRIDE !== first) continue
    const [method = '', pattern = ''] = route.split(' ')
    const body = BODIES[method]
    const { status, json } = await call(
      apiKey,
      method,
      pattern.replace(':id', () => raw),
      body ? { body } : {},
    )
    expect([status, json], `${route} ${JSON.stringify(decoded)}`).toEqual([
      404,
      {
        message: 'The object was not found in this environment.',
        code: 'entity_not_found',
        // Not repeated where it may be a credential.
        ...(!/[0-9A-Za-z]{40}/.test(decoded) && { entity_id: [...decoded].slice(0, 50).join('') }),
      },
    ])
  }
}

test('the tests of IDs call every route that takes an ID', () => {
  expect(routes).toEqual(
    expect.arrayContaining([
      'GET /connect/applications/:id',
      'PUT /connect/applications/:id',
      'DELETE /connect/applications/:id',
      'POST /connect/applications/:id/client_secrets',
      'GET /connect/applications/:id/client_secrets',
      'DELETE /connect/client_secrets/:id',
    ]),
  )
})

describe('a variant of an ID finds neither an application nor a secret', () => {
  const swapped = (id: string, from: string, to: string) =>
    id.includes(from) ? id.replace(from, to) : `${id.slice(0, -1)}${to}`
  const variants = (id: string): [string, string][] => [
    ['its id in lower case', id.toLowerCase()],
    ['its id in upper case', id.toUpperCase()],
    ['its prefix in upper case', id.replace(/^[a-z_]+/, (prefix) => prefix.toUpperCase())],
    ['O for 0 (Crockford)', swapped(id, '0', 'O')],
    ['I for 1 (Crockford)', swapped(id, '1', 'I')],
    ['l for 1 (Crockford)', swapped(id, '1', 'l')],
    ['hyphens in it (Crockford)', `${id.slice(0, -8)}-${id.slice(-8)}`],
    ['a space behind it', `${id} `],
    ['a space before it', ` ${id}`],
    ['a line end behind it', `${id}\n`],
    ['a NUL behind it', `${id}\0`],
    ['a NUL and more behind it', `${id}\0x`],
    ['a slash behind it', `${id}/`],
    ['one character less', id.slice(0, -1)],
    ['one character more', `${id}0`],
    ['its ULID alone', id.slice(-26)],
    ['another prefix', `x_${id.slice(-26)}`],
    ['quotes around it', `'${id}'`],
    ['a wildcard at its end', `${id.slice(0, -1)}%`],
    ['a wildcard in it', `${id.slice(0, -1)}_`],
    ['a full-width digit in it', id.replace('0', '０')],
    ['a zero-width space in it', `${id.slice(0, 12)}\u200b${id.slice(12)}`],
    ['twice its id', `${id},${id}`],
  ]

  test.each(variants(application.id).map(([what], i) => [what, i] as const))(
    'a variant of an ID finds nothing: %s',
    async (_, i) => {
      for (const id of [application.id, application.client_id, secret.id]) {
        const [, variant = ''] = variants(id)[i] ?? []
        expect(variant).not.toBe(id)
        const kind = id === secret.id ? '/connect/client_secrets' : '/connect/applications'
        await expectUnknown(
          encodeURIComponent(variant),
          variant,
          routes.filter((route) => route.includes(kind)),
        )
      }
    },
  )
})

describe('another ID or another value in place of an ID finds nothing', () => {
  test.each([
    ['the ID of an API key', keyId],
    ['the ID of an environment', environmentId],
    ['the ID of an event', eventId ?? ''],
    ['an unknown application ID', newId('conn_app', Date.now())],
    ['an unknown secret ID', newId('secret', Date.now())],
    ['a hint', secret.secret_hint],
    ['a secret itself', secret.secret],
    ['an API key itself', apiKey],
    ['a name', application.name as string],
    ['an organization', application.organization_id as string],
  ])('a value that is not the ID of an existing application or secret finds nothing: %s', async (_, id) =>
    expectUnknown(encodeURIComponent(id), id),
  )

  test('an application ID finds no secret, and a secret ID no application', async () => {
    for (const [method, path] of [
      ['DELETE', `/connect/client_secrets/${application.id}`],
      ['DELETE', `/connect/client_secrets/${application.client_id}`],
      ['GET', `/connect/applications/${secret.id}`],
      ['DELETE', `/connect/applications/${secret.id}`],
      ['POST', `/connect/applications/${secret.id}/client_secrets`],
    ] as const) {
      expect((await call(apiKey, method, path)).status, `${method} ${path}`).toBe(404)
    }
  })
})

describe('a string that is not an ID finds nothing', () => {
  test.each(Object.entries(NAUGHTY))('a string that is not an ID finds nothing: %s', async (_, strings) => {
    // A path has no empty segment, and none with a lone surrogate.
    const texts = strings.filter((text) => text !== '' && text.isWellFormed())
    for (const [i, text] of texts.entries()) {
      if (i % STRIDE > 0) continue
      await expectUnknown(encodeURIComponent(text), text, [routes[i % routes.length] as string])
    }
  })

  test.each([
    ['an encoded slash', 'a%2Fb', 'a/b'],
    ['encoded dots', '..%2F..%2Fetc', '../../etc'],
    ['an encoded path of another route', '..%2Fclient_secrets', '../client_secrets'],
    ['percent signs that encode nothing', '%zz', '%zz'],
    ['a percent sign alone', '%', '%'],
    ['bytes that are not UTF-8', '%ff', '%ff'],
    ['an overlong slash', '%c0%af', '%c0%af'],
    ['half a character', '%e2%82', '%e2%82'],
    ['an encoded surrogate', '%ed%a0%80', '%ed%a0%80'],
    ['encoding twice', '%2561', '%61'],
    ['a plus sign, which is not a space in a path', 'a+b', 'a+b'],
    ['a matrix parameter', 'a;x=1', 'a;x=1'],
    ['an encoded question mark', 'a%3Fb', 'a?b'],
    ['an encoded hash', 'a%23b', 'a#b'],
    ['a colon', ':id', ':id'],
    ['an asterisk', '*', '*'],
    ['16 KiB', 'x'.repeat(16_384), 'x'.repeat(16_384)],
    ['1,000 emoji', '%F0%9F%98%80'.repeat(1000), '😀'.repeat(1000)],
  ])('a string that is not an ID finds nothing: %s', async (_, raw, decoded) => expectUnknown(raw, decoded))
})

test('a percent-encoded ID is decoded', async () => {
  const encoded = application.id.replaceAll('_', '%5F').replace('0', '%30')
  expect((await call(apiKey, 'GET', `/connect/applications/${encoded}`)).json).toEqual(application)
})
