import { describe, expect, test } from 'vitest'
import { encodeBase62 } from '../../src/credential/base62.ts'
import { crc32 } from '../../src/credential/crc32.ts'
import { deriveEntropy, idempotencyDigest, newSalt, requestDigest } from '../../src/credential/derivation.ts'
import { type Bytes, sameBytes, sha256, sha256OfParts, toHex, utf8 } from '../../src/credential/digest.ts'
import {
  derivedId,
  type IdPrefix,
  isRegionDigit,
  newId,
  regionOfId,
  startOfIds,
  timeOfId,
} from '../../src/credential/id.ts'
import fc from '../property.ts'
import { seed } from '../sizes.ts'
import { decodeBase62 } from './base62.ts'

fc.configureGlobal({ seed })

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
const fromHex = (text: string): Bytes => Uint8Array.from(text.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16))
const anyBytes = (constraints: fc.IntArrayConstraints) =>
  fc.uint8Array(constraints).map((bytes) => new Uint8Array(bytes))
const any32Bytes = anyBytes({ minLength: 32, maxLength: 32 })

describe('base62', () => {
  const LARGEST = 'yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1' // 2^256 - 1

  test('base62 encodes every 32-byte value as 43 digits, which are decoded to the same value', () => {
    fc.assert(
      fc.property(any32Bytes, (bytes) => {
        const text = encodeBase62(bytes, 43)
        expect(text).toMatch(/^[0-9A-Za-z]{43}$/)
        expect(decodeBase62(text, 32)).toEqual(bytes)
      }),
      { numRuns: 2000 },
    )
  })

  test('base62 encodes a 4-byte value as 6 digits, and a number as the same digits as its bytes', () => {
    fc.assert(
      fc.property(anyBytes({ minLength: 4, maxLength: 4 }), (bytes) => {
        const text = encodeBase62(bytes, 6)
        expect(decodeBase62(text, 4)).toEqual(bytes)
        expect(encodeBase62(new DataView(bytes.buffer).getUint32(0), 6)).toBe(text)
      }),
    )
  })

  test('decoding 43 base62 digits and encoding the bytes again gives the same digits', () => {
    const anyDigits = fc.stringMatching(/^[0-9A-Za-x][0-9A-Za-z]{42}$/)
    fc.assert(
      fc.property(anyDigits, (text) => {
        expect(encodeBase62(decodeBase62(text, 32) as Bytes, 43)).toBe(text)
      }),
    )
  })

  test('base62 texts sort in the order of their numbers', () => {
    fc.assert(
      fc.property(any32Bytes, any32Bytes, (a, b) => {
        const [textA, textB] = [encodeBase62(a, 43), encodeBase62(b, 43)]
        expect(Math.sign(Number(textA > textB) - Number(textA < textB))).toBe(
          Math.sign(hex(a) > hex(b) ? 1 : hex(a) < hex(b) ? -1 : 0),
        )
      }),
    )
  })

  test.each([
    ['00'.repeat(32), '0'.repeat(43)],
    [`${'00'.repeat(31)}01`, `${'0'.repeat(42)}1`],
    [`${'00'.repeat(31)}3d`, `${'0'.repeat(42)}z`],
    [`${'00'.repeat(31)}3e`, `${'0'.repeat(41)}10`],
    ['ff'.repeat(32), LARGEST],
  ])('base62 encodes %s as %s', (bytes, text) => {
    expect(encodeBase62(fromHex(bytes), 43)).toBe(text)
    expect(decodeBase62(text, 32)).toEqual(fromHex(bytes))
  })

  test('the largest 32-byte value needs 43 base62 digits and the largest 4-byte value 6, and one digit fewer throws an error', () => {
    expect(62n ** 43n).toBeGreaterThan(2n ** 256n)
    expect(62n ** 42n).toBeLessThan(2n ** 256n)
    expect(62n ** 6n).toBeGreaterThan(2n ** 32n)
    expect(62n ** 5n).toBeLessThan(2n ** 32n)
    expect(() => encodeBase62(fromHex('ff'.repeat(32)), 42)).toThrow(RangeError)
    expect(() => encodeBase62(fromHex('ff'.repeat(4)), 5)).toThrow(RangeError)
    expect(() => encodeBase62(2 ** 32 - 1, 5)).toThrow(RangeError)
  })
})

describe('CRC-32', () => {
  test.each([
    ['', 0],
    ['a', 0xe8b7be43],
    ['abc', 0x352441c2],
    ['123456789', 0xcbf43926],
    ['The quick brown fox jumps over the lazy dog', 0x414fa339],
    ['\0'.repeat(32), 0x190a55ad],
  ])('CRC-32 of %j is %i, as in ISO-HDLC', (text, checksum) => expect(crc32(text)).toBe(checksum))

  test('CRC-32 equals the checksum of gzip (RFC 1952)', async () => {
    await fc.assert(
      fc.asyncProperty(anyBytes({ maxLength: 300 }), async (bytes) => {
        const gzipped = new Blob([bytes]).stream().pipeThrough(new CompressionStream('gzip'))
        const trailer = new DataView(await new Response(gzipped).arrayBuffer())
        expect(crc32(String.fromCharCode(...bytes))).toBe(trailer.getUint32(trailer.byteLength - 8, true))
      }),
    )
  })
})

describe('SHA-256', () => {
  test.each([
    ['nothing', '', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    ['one block', 'abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    [
      'two blocks',
      'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
      '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
    ],
    ['a million letters', 'a'.repeat(1_000_000), 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0'],
  ])('SHA-256 of %s is as in FIPS 180-4', async (_, text, digest) => expect(hex(await sha256(text))).toBe(digest))

  test('SHA-256 of a text is the digest of its UTF-8 bytes', async () => {
    expect(utf8('é€😀')).toEqual(fromHex('c3a9e282acf09f9880'))
    expect(await sha256('é€😀')).toEqual(await sha256(fromHex('c3a9e282acf09f9880')))
  })

  test('SHA-256 of two lists of texts differs if the lists differ, even if their texts concatenate to the same text', async () => {
    const anyParts = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', '\0', '\x01'), maxLength: 3 }), {
      maxLength: 4,
    })
    await fc.assert(
      fc.asyncProperty(anyParts, anyParts, async (a, b) => {
        const isSame = JSON.stringify(a) === JSON.stringify(b)
        expect(sameBytes(await sha256OfParts(...a), await sha256OfParts(...b))).toBe(isSame)
      }),
      {
        numRuns: 500,
        examples: [
          [
            ['ab', ''],
            ['a', 'b'],
          ],
          [['a'], ['a', '']],
          [[], ['']],
        ],
      },
    )
  })

  test('sameBytes is true only if all bytes are equal', () => {
    fc.assert(
      fc.property(anyBytes({ maxLength: 40 }), fc.nat(), fc.integer({ min: 1, max: 255 }), (bytes, at, change) => {
        expect(sameBytes(bytes, bytes.slice())).toBe(true)
        expect(sameBytes(bytes, new Uint8Array([...bytes, 0]))).toBe(false)
        if (bytes.length === 0) return
        expect(sameBytes(bytes, bytes.slice(1))).toBe(false)
        expect(
          sameBytes(
            bytes,
            bytes.map((byte, i) => (i === at % bytes.length ? byte ^ change : byte)),
          ),
        ).toBe(false)
      }),
    )
  })
})

test('hexadecimal has two lower-case digits for every byte', () => {
  fc.assert(fc.property(anyBytes({ maxLength: 40 }), (bytes) => toHex(bytes) === hex(bytes)))
  expect(toHex(Uint8Array.of(0, 9, 10, 255))).toBe('00090aff')
})

describe('derivation of a client secret', () => {
  const API_KEY = 'sk_0003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2oj4cD'
  const SALT = Uint8Array.from({ length: 32 }, (_, i) => 32 + i)

  /** HKDF as RFC 5869 §2.2 and §2.3 define it, for one block of output. */
  async function hkdfBlock(secret: Bytes, salt: Bytes, info: Bytes): Promise<Bytes> {
    const pseudorandomKey = await hmac(salt, secret)
    return hmac(pseudorandomKey, new Uint8Array([...info, 1]))
  }
  async function hmac(secret: Bytes, data: Bytes): Promise<Bytes> {
    const key = await crypto.subtle.importKey('raw', secret, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
    return new Uint8Array(await crypto.subtle.sign('HMAC', key, data))
  }

  test('the HKDF that these tests compare with gives the test vector of RFC 5869 A.1', async () => {
    const block = await hkdfBlock(
      fromHex('0b'.repeat(22)),
      fromHex('000102030405060708090a0b0c'),
      fromHex('f0f1f2f3f4f5f6f7f8f9'),
    )
    expect(hex(block)).toBe('3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf')
  })

  test('the derivation of a secret is HKDF-SHA-256 of the API key and the salt, with "client secret v1" and the request as info', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ minLength: 1, unit: 'binary-ascii' }),
        any32Bytes,
        any32Bytes,
        async (apiKey, salt, request) => {
          const info = new Uint8Array([...utf8('client secret v1'), ...request])
          expect(await deriveEntropy(apiKey, salt, request)).toEqual(await hkdfBlock(utf8(apiKey), salt, info))
        },
      ),
    )
  })

  test('the derivation of a secret gives the same bytes in every version of Oncekey, because a later version may answer a replay', async () => {
    const request = await requestDigest('POST', '/connect/applications/conn_app_1/client_secrets', '{}')
    expect(hex(request)).toBe('fddac8d59a576c1fd8930ebdce6420e2abb917bbc67608a20535a18bfa3176a2')
    expect(hex(await deriveEntropy(API_KEY, SALT, request))).toBe(
      'd61d14d85dec0bca772ffd75f9f6e5fb7f91a5c98ce51e3b2fffef90e0a1d4ff',
    )
    expect(hex(await idempotencyDigest(await sha256(API_KEY), 'retry-1'))).toBe(
      'b9ddf186047ac70f0a0164b90bd8f9f700a52f9b8aaa84c520870f4874dd578c',
    )
  })

  test('the derivation of a secret gives other bytes if the API key, the salt, the method, the path or the body differs', async () => {
    const derive = async (apiKey: string, salt: Bytes, ...request: [string, string, string]) =>
      hex(await deriveEntropy(apiKey, salt, await requestDigest(...request)))
    const all = await Promise.all([
      derive(API_KEY, SALT, 'POST', '/a', '{}'),
      derive(`${API_KEY.slice(0, -1)}E`, SALT, 'POST', '/a', '{}'),
      derive(API_KEY, SALT.toReversed(), 'POST', '/a', '{}'),
      derive(API_KEY, SALT, 'PUT', '/a', '{}'),
      derive(API_KEY, SALT, 'POST', '/b', '{}'),
      derive(API_KEY, SALT, 'POST', '/a', '{"name":"b"}'),
      derive(API_KEY, SALT, 'POST', '/a{', '}'),
    ])
    expect(new Set(all).size).toBe(all.length)
  })

  test('the derivation of a secret uses salts of 32 random bytes', () => {
    const salts = Array.from({ length: 1000 }, newSalt)
    expect(salts.every((salt) => salt.length === 32)).toBe(true)
    expect(new Set(salts.map(hex)).size).toBe(salts.length)
  })
})

describe('ids', () => {
  const PREFIXES: IdPrefix[] = ['env', 'client', 'api_key', 'conn_app', 'secret', 'event']

  test.each(PREFIXES)('IDs are %s_ and a ULID whose 11th symbol is the region', (prefix) => {
    expect(newId(prefix, Date.now())).toMatch(
      new RegExp(`^${prefix}_[0-7][0-9A-HJKMNP-TV-Z]{9}0[0-9A-HJKMNP-TV-Z]{15}$`),
    )
    expect(newId(prefix, Date.now(), 'A')).toMatch(new RegExp(`^${prefix}_.{10}A.{15}$`))
  })

  test('IDs sort by their time', () => {
    const anyTime = fc.integer({ min: 1, max: 2 ** 48 - 1 })
    fc.assert(
      fc.property(anyTime, anyTime, (a, b) => {
        fc.pre(a < b)
        expect(newId('secret', a) < newId('secret', b)).toBe(true)
      }),
    )
    expect(newId('secret', 1_469_918_176_385)).toMatch(/^secret_01ARYZ6S410/)
  })

  test('IDs are unique within one millisecond: 75 random bits follow the region', () => {
    const ids = Array.from({ length: 10_000 }, () => newId('secret', 1))
    expect(new Set(ids).size).toBe(ids.length)
    for (let at = 'secret_'.length + 11; at < 'secret_'.length + 26; at++) {
      expect(new Set(ids.map((id) => id[at])).size, `symbol ${at}`).toBe(32)
    }
  })

  const anyTime = fc.integer({ min: 0, max: 2 ** 48 - 1 })

  test('the time and the region of an ID can be read from the ID', () => {
    fc.assert(
      fc.property(anyTime, fc.constantFrom(...'09AHJKMNPTVZ'), (time, region) => {
        const id = newId('conn_app', time, region)
        expect([timeOfId(id), regionOfId(id)]).toEqual([time, region])
      }),
    )
    expect(timeOfId('secret_01ARYZ6S41TSV4RRFFQ69G5FAV')).toBe(1_469_918_176_385)
  })

  test.each([
    ['no characters', ''],
    ['no prefix', '01ARYZ6S41TSV4RRFFQ69G5FAV'],
    ['a prefix in upper case', 'SECRET_01ARYZ6S41TSV4RRFFQ69G5FAV'],
    ['a time after the year 10889', 'secret_81ARYZ6S41TSV4RRFFQ69G5FAV'],
    ['25 symbols', 'secret_01ARYZ6S41TSV4RRFFQ69G5FA'],
    ['27 symbols', 'secret_01ARYZ6S41TSV4RRFFQ69G5FAVV'],
    ['a symbol in lower case', 'secret_01ARYZ6S41TSV4RRFFQ69G5FAv'],
    ['the letter U', 'secret_01ARYZ6S41TSV4RRFFQ69G5FAU'],
    ['the letter L in its time', 'secret_01ALYZ6S41TSV4RRFFQ69G5FAV'],
    ['other text before it', ' secret_01ARYZ6S41TSV4RRFFQ69G5FAV'],
    ['other text after it', 'secret_01ARYZ6S41TSV4RRFFQ69G5FAV\n'],
  ])('a text with %s is not an ID, and has no time', (_, text) => expect(timeOfId(text)).toBeNull())

  test('startOfIds of a time sorts after the IDs of earlier times and before the IDs of this time', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 48 - 1 }), (time) => {
        const start = startOfIds('secret', time)
        expect(newId('secret', time - 1, 'Z') < start).toBe(true)
        expect(newId('secret', time) > start).toBe(true)
      }),
    )
  })

  test.each([-1, -0.5, 2 ** 48, Number.NaN, Number.POSITIVE_INFINITY])('an ID with the time %s is refused', (time) => {
    expect(() => startOfIds('secret', time)).toThrow(RangeError)
    expect(() => newId('secret', time)).toThrow(RangeError)
  })

  test('deriving an ID twice from the same ID, prefix and time gives the same ID', () => {
    const id = newId('secret', 1, 'A')
    const derived = derivedId('event', 1_469_918_176_385, id)
    expect(derived).toBe(`event_01ARYZ6S41A${id.slice(-15)}`)
    expect(derivedId('event', 1_469_918_176_385, id)).toBe(derived)
  })

  test('a region digit is one symbol of the alphabet of IDs, and an ID that is too short has the default region', () => {
    expect(['0', '9', 'A', 'Z'].filter(isRegionDigit)).toHaveLength(4)
    expect(['', 'a', 'I', 'L', 'O', 'U', '_', '01'].filter(isRegionDigit)).toEqual([])
    expect(regionOfId('env_1')).toBe('0')
  })
})
