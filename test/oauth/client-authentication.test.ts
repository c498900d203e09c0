import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { readCredentials } from '../../src/oauth/client-authentication.ts'
import { counted } from '../faults/wrapped.ts'
import fc from '../property.ts'
import { seed, size } from '../sizes.ts'
import { basic, newClient, requestTokenWith, seen } from './client.ts'

fc.configureGlobal({ seed })

const isLong = inject('isLong')
const client = await newClient()
const { clientId, secret } = client
const good = basic(clientId, secret)
const goodToken = good.slice('Basic '.length)
/** As valid, and of a length that base64 pads. */
const padded = basic(clientId.replace('_', '%5F'), secret)
const NOTHING = new Map<string, string>()
/** On a busy machine. */
const TIMEOUT_MS = 30_000

const encodeAll = (text: string, hex = (code: number) => code.toString(16).toUpperCase()) =>
  text.replace(/[^A-Za-z0-9]/g, (character) => `%${hex(character.charCodeAt(0)).padStart(2, '0')}`)

afterEach(() => vi.restoreAllMocks())

describe('Basic authentication (RFC 6749 §2.3.1, RFC 7617)', () => {
  test.each([
    ['raw, as curl -u sends it', good],
    ['form-encoded, as oauth4webapi sends it', basic(encodeAll(clientId), encodeAll(secret))],
    [
      'form-encoded with lower-case hex',
      basic(
        encodeAll(clientId, (code) => code.toString(16)),
        encodeAll(secret),
      ),
    ],
    ['one half form-encoded', basic(clientId, encodeAll(secret))],
    [
      'every character percent-encoded',
      basic(
        clientId,
        secret.replace(/./g, (c) => `%${c.charCodeAt(0).toString(16)}`),
      ),
    ],
    ['basic', `basic ${goodToken}`],
    ['BASIC', `BASIC ${goodToken}`],
    ['bAsIc', `bAsIc ${goodToken}`],
    ['padded', padded],
    ['several spaces', `Basic   ${goodToken}`],
  ])('Basic authentication accepts credentials in this form: %s', async (_, authorization) => {
    const reply = await requestTokenWith(authorization)
    expect(reply.status, reply.text).toBe(200)
  })

  test('Basic authentication succeeds even if the body repeats the client_id, or has empty parameters (RFC 6749 §3.2)', async () => {
    expect((await requestTokenWith(good, { client_id: clientId })).status).toBe(200)
    for (const name of ['client_id', 'client_secret', 'client_assertion', 'client_assertion_type'])
      expect((await requestTokenWith(good, { [name]: '' })).status, name).toBe(200)
    expect((await requestTokenWith(good, { client_id: '', client_secret: '' })).status).toBe(200)
  })

  test.each([
    ['client_01J-A.b', 'sec_A-b.c~d e+f%:é', btoa('client%5F01J%2DA%2Eb:sec%5FA%2Db%2Ec%7Ed+e%2Bf%25%3A%C3%A9')],
    [
      '1PpG/Q 1',
      'z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw=',
      'MVBwRyUyRlErMTp6JTJGdFo5VndGWnFBcG1JUSUyQlpIMUk1cExrJTJGdUI0dWQlM0FYMiUyRjhiTCUyQndmRlR0MXJGdyUzRA==',
    ],
    [' %&+', ' %&+', btoa('+%25%26%2B:+%25%26%2B')],
    ['an:identifier', 'some secure & non-standard secret', btoa('an%3Aidentifier:some+secure+%26+non-standard+secret')],
    ['client_01J', 'sec_abc', btoa('client_01J:sec_abc')],
    ['client_01J', 'sec_abc', btoa('client%5F01J:sec%5Fabc')],
    ['client_01J', 'sec_abc', btoa('client%5f01J:sec%5fabc')],
  ])(
    'Basic authentication decodes the client ID %j and the secret %j from an example header',
    (id, clientSecret, encoded) => {
      expect(readCredentials(`Basic ${encoded}`, NOTHING)).toEqual({ clientId: id, clientSecret })
    },
  )

  test('Basic authentication decodes raw UTF-8 (RFC 7617 §2.1)', () => {
    const utf8 = String.fromCharCode(...new TextEncoder().encode('é:ü€'))
    expect(readCredentials(`Basic ${btoa(utf8)}`, NOTHING)).toEqual({ clientId: 'é', clientSecret: 'ü€' })
  })

  test('Basic authentication splits the credentials at the first colon (RFC 7617 §2)', () => {
    expect(readCredentials(basic('a', 'b:c:'), NOTHING)).toEqual({ clientId: 'a', clientSecret: 'b:c:' })
  })

  const vschar = fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map((c) => String.fromCharCode(c)),
    minLength: 1,
    maxLength: 100,
  })

  test.each<[string, (text: string) => string]>([
    ['of the URL standard', (text) => String(new URLSearchParams([['', text]])).slice(1)],
    ['that encodes as much as possible', (text) => encodeAll(text).replaceAll('%20', '+')],
  ])(
    'Basic authentication decodes every client ID and secret of VSCHAR characters from the form encoding %s (RFC 6749 Appendix A, B)',
    (_, encode) => {
      fc.assert(
        fc.property(vschar, vschar, (id, clientSecret) => {
          const read = readCredentials(basic(encode(id), encode(clientSecret)), NOTHING)
          expect(read).toEqual({ clientId: id, clientSecret })
        }),
        { numRuns: size(300, 10_000) },
      )
    },
    TIMEOUT_MS,
  )

  test('Basic authentication does not decode the same credentials if one symbol of the header is changed, added or omitted', () => {
    const symbols = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_ !%\t'
    const credential = readCredentials(good, NOTHING)
    for (let at = 0; at <= goodToken.length; at++) {
      for (const symbol of ['', ...symbols]) {
        for (const length of [0, 1]) {
          const changed = goodToken.slice(0, at) + symbol + goodToken.slice(at + length)
          if (changed !== goodToken && changed.trim() !== goodToken)
            expect(readCredentials(`Basic ${changed}`, NOTHING), changed).not.toEqual(credential)
        }
      }
    }
    expect(credential).toEqual({ clientId, clientSecret: secret })
  })
})

describe('a malformed Basic header gets the same response as a wrong secret, without a D1 request', () => {
  const bytes = (...codes: number[]) => String.fromCharCode(...codes)
  let wrongSecret: unknown
  beforeAll(async () => {
    wrongSecret = seen(await requestTokenWith(basic(clientId, (await issueCredential('cs', '0')).plaintext)))
  })

  test.each<[string, string]>([
    ['the scheme alone', 'Basic'],
    ['no colon', 'Basic Zm9v'],
    ['a client ID without a colon', `Basic ${btoa(clientId)}`],
    ['followed by !', `${good}!`],
    ['followed by ##***^^^', `${good}##***^^^`],
    ['followed by a byte beyond ASCII', `${good}ÿ`],
    ['followed by another symbol', `${good}1`],
    ['followed by padding', `${good}====`],
    ['with a space inside', `Basic ${goodToken.slice(0, 8)} ${goodToken.slice(8)}`],
    ['with a tab inside', `Basic ${goodToken.slice(0, 8)}\t${goodToken.slice(8)}`],
    ['in base64 without its padding, as in base64url', padded.replace(/=$/, '')],
    ['in quotes', `Basic "${goodToken}"`],
    ['without base64', `Basic ${clientId}:${secret}`],
    ['without a space after the scheme', `Basic${goodToken}`],
    ['as Bearer', `Bearer ${goodToken}`],
    ['the secret as Bearer', `Bearer ${secret}`],
    ['after a parameter', `Basic realm="x", ${goodToken}`],
    ['after another scheme', `Bearer x ${good}`],
    ['two headers joined, Basic first', `${good}, Bearer x`],
    ['two headers joined, twice the same', `${good}, ${good}`],
    ['64 KB', `Basic ${btoa(`${clientId}:${secret}`.repeat(600))}`],
    ['64 KB around the right one', `Basic ${' '.repeat(64 * 1024)}${goodToken}`],
    ['%ZZ in the client ID', basic(`${clientId}%ZZ`, secret)],
    ['%ZZ in the secret', basic(clientId, `${secret}%ZZ`)],
    ['% in the secret', basic(clientId, `${secret}%`)],
    ['an overlong encoding', basic(clientId, `${secret}%C0%AF`)],
    ['an encoded lone surrogate', basic(clientId, `${secret}%ED%A0%80`)],
    ['bytes that are not UTF-8', basic(clientId, `${secret}${bytes(0xff, 0xfe)}`)],
    ['a byte-order mark before the client ID', basic(`${bytes(0xef, 0xbb, 0xbf)}${clientId}`, secret)],
    ['encoded twice', basic(encodeAll(encodeAll(clientId)), encodeAll(encodeAll(secret)))],
    ['an empty client ID', basic('', secret)],
    ['an empty secret', basic(clientId, '')],
    ['both empty', basic('', '')],
    ['a second colon before the secret', basic(clientId, `:${secret}`)],
    ['a colon after the secret', basic(clientId, `${secret}:`)],
    ['an encoded colon between them', `Basic ${btoa(`${clientId}%3A${secret}`)}`],
  ])('a malformed Basic header gets the same response as a wrong secret: %s', async (_, authorization) => {
    const counter = counted(env.DB)
    const reply = await requestTokenWith(authorization, {}, { DB: counter.database })
    expect(reply.status).toBe(401)
    expect(reply.headers.get('WWW-Authenticate')).toBe('Basic realm="oncekey"')
    expect(seen(reply)).toEqual(wrongSecret)
    expect(counter.trips).toBe(0)
  })

  const CONTROL_CHARACTERS = [...Array.from({ length: 0x20 }, (_, code) => code), 0x7f, 0x85, 0xa0]
  // The short run tries those that a reader may take for the end of a line, of a word or of a string.
  const tried = isLong ? CONTROL_CHARACTERS : [0, 9, 10, 13, 31, 127, 133, 160]
  test.each(tried)(
    'a Basic header with character %i before or after the client ID or the secret, raw or encoded, is malformed',
    async (code) => {
      for (const character of [bytes(code), `%${code.toString(16).padStart(2, '0')}`]) {
        for (const [id, clientSecret] of [
          [clientId, secret + character],
          [clientId, character + secret],
          [clientId + character, secret],
          [character + clientId, secret],
        ] as const)
          expect((await requestTokenWith(basic(id, clientSecret))).status, JSON.stringify(character)).toBe(401)
      }
    },
  )

  test.each([basic('', 'b'), basic('a', ''), basic('', ''), `Basic ${btoa('ab')}`])(
    'the Basic header %s without a client ID, a secret or a colon is malformed',
    (authorization) => expect(readCredentials(authorization, NOTHING)).toBeNull(),
  )

  test('a Basic header in base64url is malformed if it has characters that base64 does not have', () => {
    expect(readCredentials(basic('a', '?a>~?'), NOTHING)).toEqual({ clientId: 'a', clientSecret: '?a>~?' })
    expect(basic('a', '?a>~?')).toMatch(/[+/]/)
    expect(readCredentials(basic('a', '?a>~?').replaceAll('+', '-').replaceAll('/', '_'), NOTHING)).toBeNull()
  })

  test('a Basic header with a line break inside is malformed', () => {
    for (const at of [0, 8, goodToken.length]) {
      for (const separator of ['\n', '\r\n ', '\r'])
        expect(readCredentials(`Basic ${goodToken.slice(0, at)}${separator}${goodToken.slice(at)}`, NOTHING)).toBeNull()
    }
  })

  test.each(['b\xff', '\xc0\xafb', '%', '%ZZ', '%C0%AF', '%ED%A0%80'])(
    'a Basic header with the secret %j, which is not valid UTF-8 or percent-encoding, is malformed (RFC 7617 §2.1)',
    (clientSecret) => expect(readCredentials(basic('a', clientSecret), NOTHING)).toBeNull(),
  )

  test('a Basic header of over 1,024 characters is not decoded', () => {
    const decode = vi.spyOn(Uint8Array, 'fromBase64')
    expect(readCredentials(basic('a', 'b'.repeat(800)), NOTHING)).toBeNull()
    expect(decode).not.toHaveBeenCalled()
    expect(readCredentials(basic('a', 'b'.repeat(700)), NOTHING)).not.toBeNull()
    expect(decode).toHaveBeenCalled()
    const longest = basic('a', 'b'.repeat(700))
      .replace(' ', ' '.repeat(1024))
      .slice(-1024 + 'Basic'.length)
    expect(readCredentials(`Basic${longest}`, NOTHING)).toEqual({ clientId: 'a', clientSecret: 'b'.repeat(700) })
    expect(readCredentials(`Basic ${longest}`, NOTHING)).toBeNull()
  })

  test('a secret of over 50,000 characters, in a Basic header or in the body, is refused without being hashed', async () => {
    const digest = vi.spyOn(crypto.subtle, 'digest')
    await requestTokenWith(`Basic ${btoa(`${clientId}:${secret.repeat(1000)}`)}`)
    await requestTokenWith(undefined, { client_id: clientId, client_secret: secret.repeat(1000) })
    expect(
      (await requestTokenWith(undefined, { client_id: clientId, client_secret: 'x'.repeat(1024 * 1024) })).status,
    ).toBe(413)
    expect(digest).not.toHaveBeenCalled()
    await requestTokenWith(undefined, { client_id: clientId, client_secret: secret })
    expect(digest).toHaveBeenCalled()
  })
})

test.each([{ client_id: 'a' }, { client_secret: 'b' }, {}])(
  'the body %j contains no credentials, because it lacks the client ID or the secret',
  (body) => {
    expect(readCredentials(undefined, new Map(Object.entries(body)))).toBeNull()
  },
)
