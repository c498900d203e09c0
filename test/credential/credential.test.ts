import { describe, expect, test } from 'vitest'
import { encodeBase62 } from '../../src/credential/base62.ts'
import { crc32 } from '../../src/credential/crc32.ts'
import { containsCredential, issueCredential, recogniseCredential } from '../../src/credential/credential.ts'
import { sha256 } from '../../src/credential/digest.ts'
import fc from '../property.ts'
import { seed } from '../sizes.ts'

fc.configureGlobal({ seed })

const ALPHABET = [...'0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz']

const anyEntropy = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => new Uint8Array(bytes))
const anyPrefix = fc.stringMatching(/^[A-Za-z0-9_]{1,32}$/)
const anyRegion = fc.constantFrom(...ALPHABET.filter((symbol) => symbol !== '_'))
const anyCredential = fc.record({ prefix: anyPrefix, region: anyRegion, entropy: anyEntropy })

/** Appends the right checksum. */
const checksummed = (body: string) => body + encodeBase62(crc32(body), 6)

async function sample(): Promise<string> {
  return (await issueCredential('cs', '0')).plaintext
}

describe('an issued credential', () => {
  test.each([
    ['cs', '0', '00'.repeat(32), 'cs_000000000000000000000000000000000000000000001OZSBG'],
    ['cs', '0', 'ff'.repeat(32), 'cs_0yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp14F3ptC'],
    [
      'sk',
      '0',
      '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
      'sk_0003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2oj4cD',
    ],
    [
      'my_app',
      'A',
      'e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff',
      'my_app_ArKFCcw823OrBm12M1O8e6ZQf99v6mMY5fuWb9v97FWB3yF0u6',
    ],
  ])(
    'a credential that is issued with prefix %s, region %s and the bytes %s is always %s',
    async (prefix, region, entropy, plaintext) => {
      const issued = await issueCredential(
        prefix,
        region,
        Uint8Array.from(entropy.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16)),
      )
      expect(issued.plaintext).toBe(plaintext)
      expect(recogniseCredential(plaintext)).toEqual({ prefix, region })
    },
  )

  test('an issued credential consists of prefix, region, 43 digits and a checksum, and its hint is the last six characters', async () => {
    await fc.assert(
      fc.asyncProperty(anyCredential, async ({ prefix, region, entropy }) => {
        const { plaintext, digest, hint } = await issueCredential(prefix, region, entropy)
        expect(plaintext).toBe(checksummed(`${prefix}_${region}${encodeBase62(entropy, 43)}`))
        expect(digest).toEqual(await sha256(plaintext))
        expect(digest.length).toBe(32)
        expect(hint).toBe(plaintext.slice(-6))
      }),
    )
  })

  test('an issued credential is recognised with any prefix and region', async () => {
    await fc.assert(
      fc.asyncProperty(anyCredential, async ({ prefix, region, entropy }) => {
        const { plaintext } = await issueCredential(prefix, region, entropy)
        expect(recogniseCredential(plaintext)).toEqual({ prefix, region })
      }),
      { numRuns: 500 },
    )
  })

  test.each(['_', '__', 'cs_', '_cs', 'sk_0', '0', 'cs_test', 'A'.repeat(32), '_'.repeat(32)])(
    'an issued credential is recognised with the unusual prefix %s',
    async (prefix) => {
      const { plaintext } = await issueCredential(prefix, '0')
      expect(recogniseCredential(plaintext)).toEqual({ prefix, region: '0' })
    },
  )

  test('an issued credential is found inside other text, and a shortened one is not', async () => {
    await fc.assert(
      fc.asyncProperty(anyCredential, fc.string(), fc.string(), async ({ prefix, region, entropy }, before, after) => {
        const { plaintext } = await issueCredential(prefix, region, entropy)
        const isCutOff = /^[0-9A-Za-z]/.test(after)
        expect(containsCredential(`${before}${plaintext}${isCutOff ? ' ' : ''}${after}`)).toBe(true)
        expect(containsCredential(`${before}${plaintext.slice(0, -1)} ${after}`)).toBe(false)
      }),
      { numRuns: 200 },
    )
  })

  test('containsCredential finds a credential that is percent-encoded once or twice in a text', async () => {
    const plaintext = await sample()
    const encoded = plaintext.replace(/[c_]/g, (symbol) => `%${symbol.charCodeAt(0).toString(16)}`)
    expect(containsCredential(`https://paste.example/?q=${encoded}`)).toBe(true)
    expect(containsCredential(encoded.replaceAll('%', '%25'))).toBe(true)
    expect(containsCredential(`${encoded.slice(0, -1)}%`)).toBe(false)
  })

  test('containsCredential finds a credential with a character that is percent-encoded 100,000 times', async () => {
    const inner = `%${'25'.repeat(100_000)}`
    expect(containsCredential(inner)).toBe(false)
    expect(containsCredential((await sample()).replace('_', `${inner}5f`))).toBe(true)
  })

  test('an issued credential is unchanged by URL, form and JSON encoding, and has only letters, digits and underscores', async () => {
    for (let i = 0; i < 1000; i++) {
      const plaintext = await sample()
      expect(plaintext).toMatch(/^cs_0[0-9A-Za-z]{49}$/)
      expect(encodeURIComponent(plaintext)).toBe(plaintext)
      expect(new URLSearchParams({ s: plaintext }).toString()).toBe(`s=${plaintext}`)
      expect(JSON.stringify(plaintext)).toBe(`"${plaintext}"`)
      expect(` ${plaintext}.`.match(/\b\w+\b/g)).toEqual([plaintext])
    }
  })
})

describe('a secret scanner', () => {
  /** As credential.ts publishes them, by code that shares nothing with it. */
  const PATTERN = /\b(?:cs|sk|session|whsec)_[0-9A-Za-z]{50}\b/g
  function isChecksumRight(credential: string): boolean {
    let remainder = 0xffffffff
    for (const character of credential.slice(0, -6)) {
      remainder ^= character.charCodeAt(0)
      for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? 0xedb88320 : 0)
    }
    const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
    const value = [...credential.slice(-6)].reduce((sum, digit) => sum * 62 + digits.indexOf(digit), 0)
    return value === ~remainder >>> 0
  }

  test('a secret scanner finds client secrets, API keys, sessions and signing secrets by the published pattern and checksum', async () => {
    const credentials = await Promise.all(
      ['cs', 'sk', 'session', 'whsec'].map(async (prefix) => (await issueCredential(prefix, '0')).plaintext),
    )
    const [secret, apiKey, session, signing] = credentials
    const text = `s = '${secret}';\nAPI_KEY=${apiKey}\nhttps://example.com/?session=${session}&x=1 {"secret":"${signing}"} cs_${'0'.repeat(60)}`
    expect(text.match(PATTERN)).toEqual(credentials)
    expect(credentials.filter(isChecksumRight)).toEqual(credentials)
  })

  test('a secret scanner rules out other text of the same form by the checksum', () => {
    const lookalikes = Array.from({ length: 100 }, (_, i) => `cs_0${String(i).padStart(49, 'a')}`)
    expect(lookalikes.filter(isChecksumRight)).toEqual([])
  })
})

/** Typing errors in a credential, by their kind. */
const SLIPS: Record<string, (credential: string) => string[]> = {
  'one character is replaced': (credential) =>
    [...credential].flatMap((original, at) =>
      [...ALPHABET, ' ', '-', '\0', 'é']
        .filter((other) => other !== original)
        .map((other) => spliced(credential, at, 1, other)),
    ),
  'one character is missing': (credential) => [...credential].map((_, at) => spliced(credential, at, 1, '')),
  'one character is doubled': (credential) => [...credential].map((symbol, at) => spliced(credential, at, 0, symbol)),
  'one character is in the other case': (credential) =>
    [...credential].map((symbol, at) => spliced(credential, at, 1, otherCase(symbol))),
  'two neighbours are swapped': (credential) =>
    [...credential].map((symbol, at) => spliced(credential, at, 2, `${credential[at + 1] ?? ''}${symbol}`)),
  'its end is cut off': (credential) => [...credential].map((_, at) => credential.slice(0, at)),
  'its start is cut off': (credential) => [...credential].map((_, at) => credential.slice(at + 1)),
  'other text precedes it': (credential) =>
    ['x', '0', '_', ' ', '\n', '\0', '\t', '"', "'", '\ufeff', 'Bearer ', 'secret='].map((extra) => extra + credential),
  'other text follows it': (credential) =>
    ['x', '0', '_', ' ', '\n', '\r\n', '\0', '\t', '"', '\ufeff', '=', '%00', credential].map(
      (extra) => credential + extra,
    ),
  'it is encoded': (credential) => [
    credential.toUpperCase(),
    credential.toLowerCase(),
    credential.replaceAll('_', '%5F'),
    credential.replaceAll('_', '-'),
    credential.replaceAll('_', '＿'),
    credential.replace('s', 'ѕ'),
    credential.replaceAll('0', '０'),
    [...credential].reverse().join(''),
    btoa(credential),
    [...credential].join('\u200b'),
  ],
  'only a part of it is left': (credential) => [
    credential.slice(-6),
    credential.slice(0, 4),
    credential.slice(4),
    credential.slice(0, -6),
  ],
}

const spliced = (text: string, at: number, removed: number, put: string) =>
  text.slice(0, at) + put + text.slice(at + removed)
const otherCase = (symbol: string) => (symbol === symbol.toUpperCase() ? symbol.toLowerCase() : symbol.toUpperCase())

describe('a malformed credential', () => {
  test.each(Object.entries(SLIPS))('a credential is not recognised when %s', async (_, slips) => {
    const credential = await sample()
    const texts = slips(credential).filter((text) => text !== credential)
    expect(texts.length).toBeGreaterThan(3)
    for (const text of texts) expect(recogniseCredential(text), text).toBeNull()
  })

  test('a credential is not recognised if any one of its characters is replaced', async () => {
    await fc.assert(
      fc.asyncProperty(anyCredential, fc.nat(), fc.constantFrom(...ALPHABET), async (parts, position, symbol) => {
        const { plaintext } = await issueCredential(parts.prefix, parts.region, parts.entropy)
        const at = position % plaintext.length
        fc.pre(plaintext[at] !== symbol)
        expect(recogniseCredential(spliced(plaintext, at, 1, symbol))).toBeNull()
      }),
      { numRuns: 1000 },
    )
  })

  test('a random text is not recognised as a credential', () => {
    const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^\w{1,8}_[0-9A-Za-z]{50}$/))
    fc.assert(
      fc.property(anyText, (text) => {
        expect(recogniseCredential(text)).toBeNull()
      }),
      { numRuns: 300 },
    )
  })
})

describe('a text with the right checksum', () => {
  const digits = '1'.repeat(43)

  test('a text with the right checksum is recognised if it has the form of a credential', () => {
    expect(recogniseCredential(checksummed(`cs_0${digits}`))).toEqual({ prefix: 'cs', region: '0' })
  })

  test.each([
    ['no prefix', `_0${digits}`],
    ['no separator', `0${digits}`],
    ['no region', `cs_${digits}`],
    ['a prefix of 33 characters', `${'p'.repeat(33)}_0${digits}`],
    ['a prefix with a hyphen', `my-app_0${digits}`],
    ['a prefix with a dot', `my.app_0${digits}`],
    ['a prefix with a space', `my app_0${digits}`],
    ['a prefix outside ASCII', `ключ_0${digits}`],
    ['a separator in the region', `cs__${digits}`],
    ['a separator in the digits', `cs_0${'1'.repeat(42)}_`],
    ['42 digits', `cs_0${'1'.repeat(42)}`],
    ['44 digits', `cs_0${'1'.repeat(44)}`],
    ['digits of base64url', `cs_0${'1'.repeat(42)}-`],
    ['digits that hold more than 32 bytes', `cs_0${'z'.repeat(43)}`],
    ['the number 2^256', 'cs_0yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp2'],
    ['no other characters', ''],
  ])('a text with the right checksum is not recognised if it has %s', (_, body) => {
    expect(recogniseCredential(checksummed(body))).toBeNull()
  })
})
