import { describe, expect, test } from 'vitest'
import { canonicalJson, readJson } from '../../src/http/body.ts'
import { call, m2mApplication, newApiKey } from '../api.ts'
import fc from '../property.ts'
import { rawCreates } from './raw-creates.ts'

/** RFC 8259, by its productions. */
const { create, countSecrets, expectRefused } = await rawCreates()

/** A table row a text. */
const list = (texts: string) => texts.split(' ¦ ')

const show = (text: string) => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)

describe('malformed JSON gets 400', () => {
  const MALFORMED: Record<string, string[]> = {
    'no value': [' ', '\n', '\t\r\n ', '\u2028', '\0', '\ufeff', '\ufeff '],
    'literals that JSON does not have': list(
      'True ¦ NULL ¦ nul ¦ truee ¦ undefined ¦ NaN ¦ Infinity ¦ -Infinity ¦ None ¦ nil ¦ $ ¦ * ¦ a ¦ {"a":tru}',
    ),
    'the sign or the zeros of a number': list('01 ¦ -01 ¦ 00 ¦ +1 ¦ - ¦ --1 ¦ 1-1 ¦ ++1 ¦ [-] ¦ [- 1] ¦ [-01]'),
    'the fraction or the exponent of a number': list(
      '.5 ¦ -.5 ¦ 1. ¦ 1.e1 ¦ 1e ¦ 1e+ ¦ 1E- ¦ 0e+-1 ¦ 2.e3 ¦ [1eE2] ¦ [0.1.2] ¦ 1.5.',
    ),
    'the digits of a number': list('0x1 ¦ 0b1 ¦ 0o1 ¦ 1_000 ¦ 1,000 ¦ 1 000 ¦ 1n ¦ 1f ¦ １ ¦ ١ ¦ [1a]'),
    'the quotes of a string': list(`" ¦ "a ¦ a" ¦ 'a' ¦ "a' ¦ \`a\` ¦ “a” ¦ "a" "b" ¦ "a""b" ¦ {"a":"b}`),
    'escapes in a string': list(
      String.raw`"\" ¦ "\x41" ¦ "\u" ¦ "\u00" ¦ "\u00G0" ¦ "\ud800\" ¦ "\ " ¦ "\0" ¦ "\a" ¦ "\U0041" ¦ "\u{41}" ¦ "\'" ¦ \n`,
    ),
    'control characters in a string': ['"a\nb"', '"a\tb"', '"\0"', '"\x1f"', '"a\r"', '"\\\n"', '{"a\b":1}'],
    arrays: list(
      '[ ¦ ] ¦ [1 ¦ [1, ¦ [1,] ¦ [,1] ¦ [,] ¦ [1,,2] ¦ [1 2] ¦ [1;2] ¦ []] ¦ [[] ¦ [1} ¦ [1:2] ¦ [a] ¦ ["" ¦ ["", ¦ (1) ¦ [...]',
    ),
    'the brackets of an object': list(
      '{ ¦ } ¦ {"a" ¦ {"a": ¦ {"a":1 ¦ {"a":1, ¦ {"a":1] ¦ {}} ¦ {}{} ¦ {"a":"b"}} ¦ {"a":"b"}# ¦ [{]} ¦ {[}]',
    ),
    'the members of an object': list(
      '{"a":1,} ¦ {,} ¦ {,"a":1} ¦ {"a" 1} ¦ {"a"::1} ¦ {"a":1:2} ¦ {"a":1 "b":2} ¦ {"a":1,,"b":2} ¦ {"a"=1} ¦ {:1} ¦ {"a"}',
    ),
    'the keys of an object': list(`{a:1} ¦ {'a':1} ¦ {1:1} ¦ {null:1} ¦ {[]:1} ¦ {{}:1} ¦ {"a"b":1} ¦ {…}`),
    comments: ['// x\n{}', '/* x */{}', '{}// x', '{/**/}', '# x\n{}', '{"a":1}/**/', '<!-- -->{}'],
    'other white space': ['\u00a0{}', '{}\u00a0', '\f{}', '\v{}', '{\u2029}', '[\u200b]', '\u3000{}', '\x1e{}'],
    'text around an object': [
      '{} x',
      'x {}',
      '{},',
      ',{}',
      '{};',
      ")]}',\n{}",
      'callback({})',
      '{}\0',
      '\0{}',
      '{}\n{}',
      '1 2',
      'null null',
    ],
    'other formats': list('<a/> ¦ a=1&b=2 ¦ a: 1 ¦ --x\r\n\r\n1\r\n--x-- ¦ %7B%7D ¦ e30= ¦ \\u007b\\u007d ¦ !!js {}'),
    'nesting that is never closed': [
      '['.repeat(10_000),
      '{"a":'.repeat(10_000),
      '[{"":'.repeat(10_000),
      '['.repeat(65_536),
    ],
  }

  test('these tests try more than 150 malformed texts', () => {
    expect(Object.values(MALFORMED).flat().length).toBeGreaterThan(150)
  })

  test.each(Object.entries(MALFORMED))('malformed JSON gets 400: %s', async (_, texts) => {
    const before = await countSecrets()
    for (const text of texts) {
      const reply = await create(text)
      expect([reply.status, reply.json], show(text)).toEqual([
        400,
        { message: 'The request body is not well-formed JSON in UTF-8.', code: 'malformed_request' },
      ])
    }
    expect(await countSecrets()).toBe(before)
  })

  test.each<[string, number[]]>([
    ['a lone continuation byte', [0x7b, 0x22, 0x80, 0x22, 0x3a, 0x31, 0x7d]],
    ['0xFF in a string', [0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]],
    ['0xFF alone', [0xff]],
    ['0xFF behind the object', [0x7b, 0x7d, 0xff]],
    ['a character cut short', [0x7b, 0x22, 0xe2, 0x82, 0x22, 0x3a, 0x31, 0x7d]],
    ['an overlong slash', [0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x3a, 0x31, 0x7d]],
    ['an overlong NUL', [0x7b, 0x22, 0xc0, 0x80, 0x22, 0x3a, 0x31, 0x7d]],
    ['an overlong euro in four bytes', [0x7b, 0x22, 0xf0, 0x82, 0x82, 0xac, 0x22, 0x3a, 0x31, 0x7d]],
    ['a surrogate in UTF-8 (CESU-8)', [0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d]],
    ['a code point beyond U+10FFFF', [0x7b, 0x22, 0xf4, 0x90, 0x80, 0x80, 0x22, 0x3a, 0x31, 0x7d]],
    ['ISO 8859-1', [0x7b, 0x22, 0xe9, 0x22, 0x3a, 0x31, 0x7d]],
    ['UTF-16LE', [0x7b, 0, 0x7d, 0]],
    ['UTF-16LE behind its BOM', [0xff, 0xfe, 0x7b, 0, 0x7d, 0]],
    ['UTF-16BE', [0, 0x7b, 0, 0x7d]],
    ['UTF-32LE', [0x7b, 0, 0, 0, 0x7d, 0, 0, 0]],
    ['two BOMs', [0xef, 0xbb, 0xbf, 0xef, 0xbb, 0xbf, 0x7b, 0x7d]],
    ['a BOM behind the object', [0x7b, 0x7d, 0xef, 0xbb, 0xbf]],
    ['half a BOM', [0xef, 0xbb, 0x7b, 0x7d]],
    ['gzip', [0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0]],
  ])('a body that is not UTF-8 gets 400: %s', async (_, bytes) => {
    await expectRefused(new Uint8Array(bytes), 400, 'malformed_request')
  })
})

describe('well-formed JSON', () => {
  test.each(
    [
      ...list(
        '{} ¦ {"a":1} ¦ {"a":null,"b":true,"c":false} ¦ {"":0} ¦ {"a":{"b":{"c":[]}}} ¦ {"a":1,"a":2} ¦ {"a":1,"a":1} ¦ {"a":[1,2,[3]]}',
      ),
      ...list(
        '{"a":-0} ¦ {"a":-0.0e-0} ¦ {"a":1E+2} ¦ {"a":1e400} ¦ {"a":-1e400} ¦ {"a":1e-400} ¦ {"a":9007199254740993} ¦ {"a":0.1e1,"b":20e1}',
      ),
      ...list(
        '{"__proto__":{"x":1}} ¦ {"constructor":{"prototype":{"x":1}}} ¦ {"toString":1,"valueOf":2} ¦ {"then":1} ¦ {"toJSON":1} ¦ {"length":1}',
      ),
      ...list(
        String.raw`{"a":"\u0000"} ¦ {"a":"\ud83d\ude00"} ¦ {"a":"\ud800"} ¦ {"\udfff":1} ¦ {"a":"\"\\\/\b\f\n\r\t"} ¦ {"\u0061":1,"a":2}`,
      ),
      ...list(
        '{"é€😀":"é€😀"} ¦ {"a":"\ufeff"} ¦ {"\u202e":1} ¦ {"a":"\u2028\u2029"} ¦ {"a":"\x7f"} ¦ {"a":"\uffff"} ¦ {"a":"\u{10ffff}"} ¦ {"0":1,"-1":2}',
      ),
      ...[' {} ', '\t{\n}\r', '\ufeff{}', '{ "a" : [ 1 , 2 ] }'],
      `{"a":${'['.repeat(500)}${']'.repeat(500)}}`,
      `{${Array.from({ length: 2000 }, (_, i) => `"k${i}":${i}`).join()}}`,
      `{"a":${'9'.repeat(1000)}}`,
      `{"a":"${'x'.repeat(60_000)}"}`,
      `{${' '.repeat(65_000)}}`,
    ].map((text) => [show(text), text]),
  )('an object is accepted, and its unknown keys are ignored: %s', async (_, text) => {
    const { status, json } = await create(text as string)
    expect([status, json.object], JSON.stringify(json)).toEqual([201, 'connect_application_secret'])
  })

  test.each([
    ...list('null ¦ true ¦ false ¦ 0 ¦ -0 ¦ 1 ¦ -1.5e3 ¦ 1e400 ¦ "" ¦ "x" ¦ "{}" ¦ "\\u0000" ¦ "😀"'),
    ...list('[] ¦ [{}] ¦ [1,2] ¦ ["name","x"] ¦ [[[]]] ¦ [null] ¦ \n[ ] ¦ \ufeff[]'),
  ])('a value other than an object gets 422: %s', async (text) => {
    await expectRefused(text, 422, 'invalid_request_parameters')
  })

  test('a body cannot change the prototype of objects (CWE-1321)', async () => {
    const texts = [
      '{"__proto__":{"polluted":1}}',
      '{"constructor":{"prototype":{"polluted":1}}}',
      '{"a":{"__proto__":{"polluted":1}}}',
    ]
    for (const text of texts) await create(text)
    expect('polluted' in {}).toBe(false)
    expect((await create('{}')).status).toBe(201)
  })
})

describe('the work for a body is bounded, because its caller is not yet identified', () => {
  test('a body with more than 512 levels of nesting is refused, and brackets in strings do not count as levels', async () => {
    const nested = (levels: number) => `{"a":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`
    expect((await create(nested(512))).status).toBe(201)
    await expectRefused(nested(513), 400, 'malformed_request')
    expect((await create(`{"a":"${'['.repeat(10_000)}"}`)).status).toBe(201)
    expect((await create(`{"a":"\\\\\\"${'['.repeat(10_000)}"}`)).status).toBe(201)
  })

  test('items of an array beyond its maximum length are not validated', async () => {
    const scopes = [...Array.from({ length: 100 }, (_, i) => `s${i}`), ...Array(10_000).fill(1)]
    const { apiKey } = await newApiKey()
    const { status, json } = await call(apiKey, 'POST', '/connect/applications', {
      body: { ...m2mApplication, scopes },
    })
    expect(status).toBe(422)
    expect(json.errors.map(({ field }: { field: string }) => field)).toEqual(['scopes.100'])
  })
})

describe('the canonical form of a body', () => {
  const canonical = async (text: string) => {
    const body = await readJson(
      new Request('https://oncekey.test', {
        method: 'POST',
        body: text,
        headers: { 'Content-Type': 'application/json' },
      }),
    )
    return typeof body === 'string' ? body : canonicalJson(body.value)
  }

  test.each([
    ['the order of keys', '{"a":1,"b":{"c":2,"d":3}}', '{"b":{"d":3,"c":2},"a":1}'],
    ['white space', '{"a":[1,2]}', ' { "a" :\n[ 1,\t2 ] } '],
    ['escapes', '{"é":"/"}', '{"\\u00e9":"\\/"}'],
    ['the notation of numbers', '{"a":[1,100,0.5]}', '{"a":[1.0,1e2,5e-1]}'],
    ['a BOM', '{}', '\ufeff{}'],
    ['whether the body is {} or empty', '{}', ''],
  ])('the canonical form does not depend on %s', async (_, a, b) => expect(await canonical(a)).toBe(await canonical(b)))

  test.each([
    ['the order of an array', '{"a":[1,2]}', '{"a":[2,1]}'],
    ['whether a member is null or absent', '{"a":null}', '{}'],
    ['whether a value is a number or its text', '{"a":1}', '{"a":"1"}'],
    ['whether a value is an empty object or an empty array', '{"a":{}}', '{"a":[]}'],
    ['which object contains a key', '{"a":{"b":1},"c":{}}', '{"a":{},"c":{"b":1}}'],
    ['whether characters are composed or decomposed', '{"a":"\u00e9"}', '{"a":"e\u0301"}'],
    ['a key called __proto__', '{"__proto__":1}', '{}'],
  ])('the canonical form depends on %s', async (_, a, b) => expect(await canonical(a)).not.toBe(await canonical(b)))

  test('the canonical form is JSON of the same value', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()), async (value) => {
        const text = JSON.stringify(value)
        expect(JSON.parse(await canonical(text))).toEqual(JSON.parse(text))
        const reversed = JSON.stringify(Object.fromEntries(Object.entries(value).reverse()))
        expect(await canonical(reversed)).toBe(await canonical(text))
      }),
    )
  })
})
