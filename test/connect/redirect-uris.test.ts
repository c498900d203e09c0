import { describe, expect, inject, test } from 'vitest'
import { CreateApplication, UpdateApplication } from '../../src/contract/applications.ts'
import { call, m2mApplication, newApiKey, newApplication } from '../api.ts'
import fc from '../property.ts'
import { size } from '../sizes.ts'
import { schemaErrors } from './schema-errors.ts'

const isLong = inject('isLong')
const { apiKey } = await newApiKey()
const oauthApplication = { name: 'Console', application_type: 'oauth', is_first_party: true }
const existing = await newApplication(apiKey, oauthApplication)

/** Creates one, and updates another one, with these: the same must come of it. */
async function createAndUpdate(redirectUris: unknown) {
  const fields = { redirect_uris: redirectUris }
  return [
    await call(apiKey, 'POST', '/connect/applications', { body: { ...oauthApplication, ...fields } }),
    await call(apiKey, 'PUT', `/connect/applications/${existing.id}`, { body: fields }),
  ]
}

async function expectTaken(redirectUris: unknown, becomes: unknown) {
  for (const { status, json } of await createAndUpdate(redirectUris)) {
    expect([200, 201], JSON.stringify(json)).toContain(status)
    expect(json.redirect_uris).toEqual(becomes)
    expect((await call(apiKey, 'GET', `/connect/applications/${json.id}`)).json).toEqual(json)
  }
}

async function expectRefused(redirectUris: unknown, code: string, field: string) {
  for (const { status, json } of await createAndUpdate(redirectUris)) {
    expect([status, json.errors], JSON.stringify(redirectUris)).toEqual([
      422,
      [{ field, code, message: expect.any(String) }],
    ])
  }
}

/** As expectRefused, for each of several values. The short run sends the first one, and gives the others to the schemas. */
async function expectEachRefused(values: unknown[], code: string, field: string) {
  for (const [i, value] of values.entries()) {
    if (i === 0 || isLong) await expectRefused(value, code, field)
    const fields = { redirect_uris: value }
    const errors = [
      schemaErrors(CreateApplication, { ...oauthApplication, ...fields }),
      schemaErrors(UpdateApplication, fields),
    ]
    for (const found of errors) expect(found, JSON.stringify(value)).toMatchObject([{ field, code }])
  }
}

describe('a redirect URI', () => {
  test.each([
    'https://example.com',
    'https://example.com/',
    'https://example.com/callback?x=1&y=%20#'.slice(0, -1),
    'https://example.com:8443/a/b;c=d/(e)!*',
    'https://example.com/.well-known/callback',
    'https://example.com/a..b/...?next=/../x',
    'com.example.database:/callback',
    'https://xn--exmple-cua.com/',
    'https://[2001:db8::1]/callback',
    'https://192.0.2.1/',
    'HTTPS://EXAMPLE.COM/',
    'http://localhost',
    'http://localhost:3000/callback',
    'http://LOCALHOST/',
    'http://127.0.0.1/',
    'http://127.0.0.1:51004/',
    'http://[::1]:8080/callback',
    'com.example.app:/callback',
    'com.example.app://callback',
    'com.example:x',
    `https://example.com/${'x'.repeat(2028)}`,
  ])(
    'a redirect URI with https, with http to loopback, or with a private scheme is stored as it was sent: %s',
    async (uri) => {
      await expectTaken([{ uri }], [{ uri, default: true }])
    },
  )

  test('random https URLs without dot segments are accepted', async () => {
    const httpsUrl = fc
      .webUrl({ validSchemes: ['https'], withQueryParameters: true })
      .filter((uri) => !/\/(\.|%2e){1,2}(\/|\?|$)/i.test(uri))
    await fc.assert(
      fc.asyncProperty(httpsUrl, async (uri) => {
        await expectTaken([{ uri }], [{ uri, default: true }])
      }),
      { numRuns: size(8, 20) },
    )
  })

  test.each<[string, string[]]>([
    [
      'relative',
      ['', '/', '/callback', 'callback', '//example.com/callback', '?x=1', 'example.com', 'localhost:3000x/'],
    ],
    [
      'with a fragment',
      ['https://example.com/#', 'https://example.com/#x', 'https://example.com#x', 'com.example.app:/x#y'],
    ],
    [
      'with http to a host other than loopback',
      [
        'http://example.com/',
        'http://10.0.0.1/',
        'http://0.0.0.0/',
        'http://127.0.0.2/',
        'http://[::2]/',
        'http://localhost.example.com/',
        'http://127.0.0.1.example.com/',
        'http://localhost@example.com/',
        'http://example.com/localhost',
        'http://localhost./',
      ],
    ],
    [
      'in a scheme that runs code or reads files',
      [
        'javascript:alert(1)',
        'data:text/html,x.y',
        'file:///etc/passwd',
        'blob:https://example.com/x',
        'about:blank',
        'vbscript:x',
        'view-source:https://example.com',
        'ftp://example.com',
        'ws://example.com',
        'wss://example.com',
        'mailto:a@example.com',
        'javascript.x:alert(1)',
        'x.JavaScript:alert(1)',
        'data.text:x',
        'com.vbscript.x:/',
        'blob.x:y',
      ],
    ],
    [
      'with a user name or a password, which hides the host (CWE-601)',
      [
        'https://good.example@evil.example/',
        'https://user:password@example.com/',
        'https://:password@example.com/',
        'http://user@localhost/',
        'com.example.app://user@callback',
      ],
    ],
    ['with a wildcard host', ['https://*.example.com/callback', 'https://*/', 'https://a.*.example.com/']],
    [
      'with dot segments, percent-encoded or not',
      [
        'https://example.com/../callback',
        'https://example.com/a/..',
        'https://example.com/./a',
        'https://example.com/.',
        'https://example.com/a/../../b?x',
        'https://example.com/a/%2e%2e/b',
        'https://example.com/a/.%2E',
        'https://example.com/%2e?x',
        'com.example.app:/../callback',
      ],
    ],
    ['in a private scheme without a dot', ['myapp://callback', 'myapp:/callback', 'urn:ietf:wg:oauth:2.0:oob', 'x:y']],
    [
      'without a host',
      [
        'https:',
        'https:/',
        'https://',
        'https:///example.com',
        'https:example.com',
        'https:/example.com',
        'http:localhost',
        'http:/localhost',
        'https:example.com?next=https://example.com',
        'http:localhost?next=http://localhost',
        'https://?x',
        'https://:443/',
      ],
    ],
    [
      'with characters that RFC 3986 does not allow',
      [
        'https://example.com/a b',
        ' https://example.com/',
        'https://example.com/ ',
        'https://example.com/\n',
        'https://exa\tmple.com/',
        'https://example.com/\0',
        'https://example.com/é',
        'https://exämple.com/',
        'https:\\\\example.com\\',
        'https://example.com\\@evil.example/',
        'https://example.com/"',
        'https://example.com/<x>',
        'https://example.com/{x}',
        'https://example.com/|',
        'https://example.com/^',
        'https://example.com/`',
        'https://example.com/\ud800',
      ],
    ],
    [
      'malformed',
      [
        'https://[::1',
        'https://example.com:99999/',
        'https://example.com:port/',
        'https://%zz/',
        'https://[example.com]/',
        'https://exa%00mple.com/',
      ],
    ],
  ])('a redirect URI is refused: %s', async (_, uris) => {
    const lists = uris.map((uri) => [{ uri }])
    await expectEachRefused(lists, 'redirect_uris_uri_malformed', 'redirect_uris.0.uri')
  })

  test('a redirect URI of more than 2,048 characters is refused', async () => {
    await expectRefused(
      [{ uri: `https://example.com/${'x'.repeat(2029)}` }],
      'redirect_uris_uri_too_long',
      'redirect_uris.0.uri',
    )
  })

  test('redirect_uris that are not an array of objects with a string as uri are refused', async () => {
    const uris = [null, 5, true, [], ['https://example.com'], {}].map((uri) => [{ uri }])
    await expectEachRefused(uris, 'redirect_uris_uri_invalid', 'redirect_uris.0.uri')
    await expectRefused([{}], 'redirect_uris_uri_required', 'redirect_uris.0.uri')
    await expectEachRefused([['https://example.com'], [null], [5]], 'redirect_uris_invalid', 'redirect_uris.0')
    const lists = ['https://example.com', 5, true, {}, { 0: { uri: 'https://example.com' } }]
    await expectEachRefused(lists, 'redirect_uris_invalid', 'redirect_uris')
  })
})

describe('the default redirect URI', () => {
  const [A, B, C] = ['https://a.example/', 'https://b.example/', 'https://c.example/']

  test.each<[string, object[], boolean[]]>([
    ['the first when none is marked', [{ uri: A }, { uri: B }, { uri: C }], [true, false, false]],
    [
      'the first when all are null, as the SDK for Node sends them',
      [
        { uri: A, default: null },
        { uri: B, default: null },
      ],
      [true, false],
    ],
    [
      'none when all are explicitly false',
      [
        { uri: A, default: false },
        { uri: B, default: false },
      ],
      [false, false],
    ],
    [
      'none when one is explicitly false and the others say nothing',
      [{ uri: A }, { uri: B, default: false }],
      [false, false],
    ],
    [
      'the one that is marked',
      [{ uri: A }, { uri: B, default: true }, { uri: C, default: null }],
      [false, true, false],
    ],
    ['the first when it is marked', [{ uri: A, default: true }, { uri: B }], [true, false]],
    [
      'the last when it is marked',
      [{ uri: A, default: false }, { uri: B }, { uri: C, default: true }],
      [false, false, true],
    ],
  ])('the default redirect URI is %s', async (_, sent, defaults) => {
    const uris = [A, B, C].slice(0, sent.length)
    await expectTaken(
      sent,
      uris.map((uri, i) => ({ uri, default: defaults[i] })),
    )
  })

  test('a list with two default redirect URIs is refused', async () => {
    await expectRefused(
      [
        { uri: A, default: true },
        { uri: B, default: true },
      ],
      'redirect_uris_several_defaults',
      'redirect_uris',
    )
  })

  test('a default member that is not a boolean is refused', async () => {
    const lists = ['true', 1, 0, '', [], {}].map((mark) => [{ uri: A, default: mark }])
    await expectEachRefused(lists, 'redirect_uris_default_invalid', 'redirect_uris.0.default')
  })
})

describe('the list of redirect URIs', () => {
  const many = (n: number) => Array.from({ length: n }, (_, i) => ({ uri: `https://example.com/${i}` }))

  test('up to 20 redirect URIs are accepted, and keep their order', async () => {
    await expectTaken(
      many(20),
      many(20).map((entry, i) => ({ ...entry, default: i === 0 })),
    )
    await expectRefused(many(21), 'redirect_uris_too_many', 'redirect_uris')
  })

  test('an application may have no redirect URIs', async () => {
    await expectTaken([], [])
    const { json } = await call(apiKey, 'POST', '/connect/applications', { body: oauthApplication })
    expect(json.redirect_uris).toEqual([])
  })

  test.each([null, []])('an m2m application can be created and updated with %j as its redirect URIs', async (value) => {
    const created = await call(apiKey, 'POST', '/connect/applications', {
      body: { ...m2mApplication, redirect_uris: value },
    })
    expect(created.status).toBe(201)
    const updated = await call(apiKey, 'PUT', `/connect/applications/${created.json.id}`, {
      body: { redirect_uris: value },
    })
    expect([updated.status, 'redirect_uris' in updated.json]).toEqual([200, false])
  })

  test('redirect URIs are refused for an m2m application, and the refused update changes nothing', async () => {
    const fields = { name: 'Changed', redirect_uris: many(1) }
    const created = await call(apiKey, 'POST', '/connect/applications', { body: { ...m2mApplication, ...fields } })
    const application = await newApplication(apiKey)
    const updated = await call(apiKey, 'PUT', `/connect/applications/${application.id}`, { body: fields })
    for (const { status, json } of [created, updated]) {
      expect([status, json.errors[0].code]).toEqual([422, 'redirect_uris_not_allowed'])
    }
    expect((await call(apiKey, 'GET', `/connect/applications/${application.id}`)).json).toEqual(application)
  })
})
