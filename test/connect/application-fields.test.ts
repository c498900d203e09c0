import { describe, expect, inject, test } from 'vitest'
import { CreateApplication, UpdateApplication } from '../../src/contract/applications.ts'
import { issueCredential } from '../../src/credential/credential.ts'
import { call, m2mApplication, newApiKey, newApplication } from '../api.ts'
import fc from '../property.ts'
import { size } from '../sizes.ts'
import { NAUGHTY } from './naughty-strings.ts'
import { schemaErrors } from './schema-errors.ts'

/** The rules of contract.md's "Input", field by field, for every kind of application, on creation and on update. */
const { apiKey } = await newApiKey()
const isLong = inject('isLong')

const ORGANIZATION = 'org_01EHZNVPK3SFK441A1RGBFSHRT'
const KINDS: Record<string, Record<string, unknown>> = {
  m2m: m2mApplication,
  'third-party oauth': {
    name: 'Shop',
    application_type: 'oauth',
    is_first_party: false,
    organization_id: ORGANIZATION,
  },
  'first-party oauth': { name: 'Console', application_type: 'oauth', is_first_party: true },
}
const OAUTH = ['third-party oauth', 'first-party oauth']

const create = (kind: string, fields: object) =>
  call(apiKey, 'POST', '/connect/applications', { body: { ...KINDS[kind], ...fields } })

const existing: Record<string, string> = {}
for (const kind of Object.keys(KINDS)) existing[kind] = (await newApplication(apiKey, KINDS[kind])).id

/** Creates one, and updates another one, with the same fields: the same must come of it. */
async function createAndUpdate(kind: string, fields: object) {
  const id = existing[kind]
  return [await create(kind, fields), await call(apiKey, 'PUT', `/connect/applications/${id}`, { body: fields })]
}

async function expectTaken(kind: string, field: string, value: unknown, becomes: unknown = value) {
  for (const { status, json } of await createAndUpdate(kind, { [field]: value })) {
    expect([200, 201], JSON.stringify(json)).toContain(status)
    expect(json[field]).toEqual(becomes)
    expect((await call(apiKey, 'GET', `/connect/applications/${json.id}`)).json).toEqual(json)
  }
}

async function expectRefused(kind: string, field: string, value: unknown, code: string, at = field) {
  for (const { status, json } of await createAndUpdate(kind, { [field]: value })) {
    expect([status, json.code, json.errors], JSON.stringify(value)).toEqual([
      422,
      'invalid_request_parameters',
      [{ field: at, code, message: expect.stringMatching(new RegExp(`^${at} `)) }],
    ])
  }
}

/**
 * Expects that each of several values is refused for the same reason. The short run sends the first one. It gives the others
 * to the schemas, as the routes do.
 */
async function expectEachRefused(kind: string, field: string, values: readonly unknown[], code: string, at = field) {
  for (const [i, value] of values.entries()) {
    if (i === 0 || isLong) await expectRefused(kind, field, value, code, at)
    const errors = [
      schemaErrors(CreateApplication, { ...KINDS[kind], [field]: value }),
      schemaErrors(UpdateApplication, { [field]: value }),
    ]
    for (const found of errors) expect(found, JSON.stringify(value)).toMatchObject([{ field: at, code }])
  }
}

/** The short run tries values that are accepted with one kind, because the schemas of all kinds share their fields. */
const triedWith = <V>(kind: string, values: V[]) => (isLong || kind === 'm2m' ? values : values.slice(0, 2))

/** C0, DEL and C1: all of them once, then those at the edges. */
const CONTROL_CHARACTERS = [...Array(0x20).keys(), ...Array.from({ length: 0x21 }, (_, i) => 0x7f + i)].map((code) =>
  String.fromCharCode(code),
)
const controlCharacters = (kind: string) =>
  kind === 'm2m' ? CONTROL_CHARACTERS : ['\0', '\n', '\x1f', '\x7f', '\x80', '\x9f']
const INVISIBLE = [
  'safe\u202egnp.exe',
  '\u202dx',
  'x\u2066y\u2069',
  'a\u200bb',
  'a\u200db',
  '\u200cab',
  'ab\u200c',
  'é\u200d👩',
  'x\u2060y',
  'x\ufeffy',
  'x\u00ady',
  'x\u200ey',
  'x\u2028y',
]
const LONE_SURROGATES = ['\ud800', '\udbff', '\udc00', '\udfff', 'a\ud83d', '\ude00b', 'a\ude00\ud83db', '\ud800\ud800']
const NO_STRINGS: unknown[] = [5, 0, true, [], ['x'], {}, { toString: 'x' }, [['x']]]

describe('a field that contains a credential is refused, so that the credential is not stored', async () => {
  const { plaintext } = await issueCredential('cs', '0')

  test.each([
    ['name', 'm2m', `CLIENT_SECRET=${plaintext}`, 'name'],
    ['name', 'm2m', apiKey, 'name'],
    ['description', 'm2m', `The secret is "${plaintext}".`, 'description'],
    ['scopes', 'm2m', ['a', plaintext], 'scopes.1'],
    ['redirect_uris', 'third-party oauth', [{ uri: `https://a.example/?s=${plaintext}` }], 'redirect_uris.0.uri'],
  ])('a credential in the field %s of an application of the type %s is refused', async (field, kind, value, at) => {
    await expectRefused(kind, field, value, `${at.replace(/\.\d/, '').replaceAll('.', '_')}_contains_credential`, at)
  })

  test('a credential in organization_id is refused', async () => {
    const { json } = await create('m2m', { organization_id: `org_${plaintext}` })
    expect(json.errors).toMatchObject([{ code: 'organization_id_contains_credential' }])
  })
})

describe.each(Object.keys(KINDS))('%s', (kind) => {
  describe('name', () => {
    test.each(
      triedWith(kind, [
        'x',
        'x'.repeat(255),
        '😀'.repeat(255),
        ' x ',
        "O'Reilly & Söhne <b>",
        '👨‍👩‍👧‍👦 🏳️‍🌈',
        'نامه\u200cای',
        'क्\u200dष',
        'e\u0301',
        '\u00e9',
        '﷽',
        '0',
      ]),
    )('the name is kept byte for byte: %s', async (name) => {
      await expectTaken(kind, 'name', name)
    })

    test('a blank name is refused', async () => {
      const blank = ['', ' ', '   ', '\u00a0', '\u3000\u2003', '\ufeff', '\u2028']
      await expectEachRefused(kind, 'name', blank, 'name_blank')
    })

    test('a name of more than 255 code points is refused', async () => {
      await expectEachRefused(kind, 'name', ['x'.repeat(256), '😀'.repeat(256)], 'name_too_long')
    })

    test('a name with control characters is refused (CWE-158)', async () => {
      const names = controlCharacters(kind).map((character) => `a${character}b`)
      await expectEachRefused(kind, 'name', names, 'name_control_character')
    })

    test('a name with invisible or text-direction characters, which make names look alike, is refused', async () => {
      await expectEachRefused(kind, 'name', INVISIBLE, 'name_invisible_character')
    })

    test('a name that is not well-formed Unicode is refused', async () => {
      await expectEachRefused(kind, 'name', LONE_SURROGATES, 'name_malformed')
    })

    test('a name that is not a string is refused (CWE-843)', async () => {
      await expectEachRefused(kind, 'name', [...NO_STRINGS, null], 'name_invalid')
    })

    test('an application cannot be created without a name', async () => {
      const { name: _, ...nameless } = KINDS[kind] as { name: string }
      const { status, json } = await call(apiKey, 'POST', '/connect/applications', { body: nameless })
      expect([status, json.errors[0].code]).toEqual([422, 'name_required'])
    })
  })

  describe('description', () => {
    test.each(
      triedWith(kind, [null, 'several\nlines\r\nand\ttabs', '', ' ', 'x', 'x'.repeat(1000), '😀'.repeat(1000)]),
    )('the description is stored as it was sent: %j', async (text) => {
      await expectTaken(kind, 'description', text)
    })

    test('a description of more than 1,000 characters is refused', async () => {
      await expectEachRefused(kind, 'description', ['x'.repeat(1001), '😀'.repeat(1001)], 'description_too_long')
    })

    test('a description may have tabs and line ends, but no other control characters and no lone surrogates', async () => {
      const characters = controlCharacters(kind).filter((character) => !/[\t\n\r]/.test(character))
      await expectEachRefused(kind, 'description', characters, 'description_control_character')
      await expectEachRefused(kind, 'description', LONE_SURROGATES, 'description_malformed')
    })

    test('a description with invisible or text-direction characters is refused', async () => {
      await expectEachRefused(kind, 'description', INVISIBLE, 'description_invisible_character')
    })

    test('a description that is neither a string nor null is refused', async () => {
      await expectEachRefused(kind, 'description', NO_STRINGS, 'description_invalid')
    })

    test('an application that is created without a description has null as its description', async () => {
      const { description: _, ...rest } = KINDS[kind] as { description?: string }
      expect((await call(apiKey, 'POST', '/connect/applications', { body: rest })).json.description).toBeNull()
    })
  })

  describe('scopes', () => {
    const anyToken = fc.stringMatching(/^[\x21\x23-\x5b\x5d-\x7e]{1,30}$/)

    test('random lists of scope-tokens (RFC 6749 §3.3) are stored in their order', async () => {
      await fc.assert(
        fc.asyncProperty(fc.uniqueArray(anyToken, { maxLength: 100 }), async (scopes) => {
          await expectTaken(kind, 'scopes', scopes)
        }),
        {
          numRuns: size(kind === 'm2m' ? 10 : 4, 20),
          examples: [
            [['a', 'A']],
            [['openid', 'profile', 'email']],
            [['https://example.com/scope?x=%20', 'files:read']],
            [[]],
          ],
        },
      )
    })

    test('an application may have 100 scopes, and no more', async () => {
      const scopes = Array.from({ length: 101 }, (_, i) => `scope-${i}`)
      await expectTaken(kind, 'scopes', scopes.slice(1))
      await expectRefused(kind, 'scopes', scopes, 'scopes_too_many')
    })

    test('a scope that is not a scope-token (RFC 6749 §3.3) is refused', async () => {
      const malformed = ['', ' ', 'a b', 'a"', 'a\\b', 'é', '\x7f', 'a\tb', '\0', 'a\n', '😀', '\ud800']
      const lists = malformed.map((scope) => ['ok', scope])
      await expectEachRefused(kind, 'scopes', lists, 'scopes_malformed', 'scopes.1')
    })

    test('a repeated scope is refused', async () => {
      await expectRefused(kind, 'scopes', ['a', 'b', 'a'], 'scopes_repeated')
    })

    test('scopes that are not an array of strings are refused', async () => {
      await expectEachRefused(kind, 'scopes', ['a', 'a b', 5, true, {}, { 0: 'a' }], 'scopes_invalid')
      await expectEachRefused(kind, 'scopes', [[5], [null], [true], [{}], [['a']]], 'scopes_invalid', 'scopes.0')
    })

    test.each([{}, { scopes: null }])('an application created with %j has no scopes', async (fields) => {
      expect((await create(kind, fields)).json.scopes).toEqual([])
    })
  })
})

test('every text in a list of problematic texts is either stored as it was sent, or refused', async () => {
  const { apiKey } = await newApiKey()
  const sent = new Map<string, object>()
  const send = async (fields: object) => {
    const body = { ...m2mApplication, ...fields }
    const { status, json } = await call(apiKey, 'POST', '/connect/applications', { body })
    expect([201, 422], JSON.stringify(fields)).toContain(status)
    if (status === 201) sent.set(json.id, fields)
    if (status === 201) expect(json).toMatchObject(fields)
    return json
  }
  let refused = 0
  // The short run tries every third one.
  const texts = Object.values(NAUGHTY).flat()
  for (const text of texts.filter((_, i) => i % size(3, 1) === 0)) {
    const fields = { name: text, description: text, scopes: [text] }
    const { errors = [] } = await send(fields)
    const invalid = errors.map(({ field }: { field: string }) => field.split('.')[0])
    refused += invalid.length
    // Without the fields that are refused, the others are accepted.
    if (invalid.length > 0 && invalid.length < 3) {
      const { id } = await send(
        Object.fromEntries(Object.entries(fields).filter(([field]) => !invalid.includes(field))),
      )
      expect(id, JSON.stringify(text)).toBeDefined()
    }
  }
  expect(refused).toBeGreaterThan(30)
  expect(sent.size).toBeGreaterThan(30)
  for (let after: string | null = ''; after !== null; ) {
    const page = await call(apiKey, 'GET', `/connect/applications?limit=100${after && `&after=${after}`}`)
    for (const application of page.json.data) {
      expect(application).toMatchObject(sent.get(application.id) as object)
      sent.delete(application.id)
    }
    after = page.json.list_metadata.after
  }
  expect(sent.size).toBe(0)
}, 30_000)

describe('application_type and is_first_party', () => {
  test.each(['M2M', 'Oauth', 'user', '', null, 5, true, ['m2m'], { m2m: 1 }, undefined])(
    'an application_type other than m2m and oauth is refused: %j',
    async (value) => {
      const { status, json } = await create('m2m', { application_type: value })
      expect([status, json.errors[0].field]).toEqual([422, 'application_type'])
    },
  )

  test.each(['true', 'false', '', 0, 1, null, [], {}, undefined])(
    'an is_first_party other than true and false is refused: %j',
    async (value) => {
      const { status, json } = await create('third-party oauth', { is_first_party: value })
      expect([status, json.errors[0].field]).toEqual([422, 'is_first_party'])
    },
  )
})

describe('organization_id', () => {
  const GOOD = ['org_1', ORGANIZATION, 'org_a_b', `org_${'x'.repeat(64)}`]
  const BAD = [
    '',
    ' ',
    'org',
    'org_',
    'ORG_1',
    'org-1',
    'org_ 1',
    ' org_1',
    'org_1 ',
    'org_1\n',
    'user_1',
    'org_é',
    'org_%',
    'org_*',
    'org_1;',
    `org_${'x'.repeat(65)}`,
  ]

  describe.each(['m2m', 'third-party oauth'])('organization_id of an application of the type %s', (kind) => {
    test.each(GOOD)('a well-formed organization_id is accepted: %s', async (id) => {
      const { status, json } = await create(kind, { organization_id: id })
      expect([status, json.organization_id]).toEqual([201, id])
    })

    test.each([...BAD, null, 5, true, [], ['org_1'], {}, undefined])(
      'a malformed organization_id is refused: %j',
      async (id) => {
        const { status, json } = await create(kind, { organization_id: id })
        expect([status, json.errors[0].field]).toEqual([422, 'organization_id'])
      },
    )
  })

  test.each([...GOOD, ...BAD, 5, false, [], {}, null])(
    'creating a first-party oauth application ignores organization_id %j',
    async (id) => {
      const { status, json } = await create('first-party oauth', { organization_id: id })
      expect([status, 'organization_id' in json]).toEqual([201, false])
    },
  )
})

describe.each(OAUTH)('uses_pkce of an application of the type %s', (kind) => {
  test.each([
    [true, true],
    [false, false],
    [null, false],
    [undefined, false],
  ])('uses_pkce: %j is stored as %j', async (value, becomes) => {
    expect((await create(kind, { uses_pkce: value })).json.uses_pkce).toBe(becomes)
  })

  test.each(['true', 1, 0, '', [], {}])('a uses_pkce that is not a boolean is refused: %j', async (value) => {
    const { status, json } = await create(kind, { uses_pkce: value })
    expect([status, json.errors[0].code]).toEqual([422, 'uses_pkce_invalid'])
  })
})
