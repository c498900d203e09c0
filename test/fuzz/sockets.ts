import fc from 'fast-check'
import type { RawRequest } from './raw.ts'

/** HTTP that is malformed, written to a socket. */

/** Values of a run. */
export interface RawWorld {
  readonly origin: string
  readonly bearer: string
  /** The path that creates a secret. */
  readonly path: string
  /** A secret that no request may revoke. */
  readonly victim: string
}

/** A shape of malformed HTTP. It changes nothing, whatever the server makes of it. */
type Shape = (world: RawWorld, random: { text: string; number: number }) => string

const BODY = '{"name":"smuggled"}'
/** Has the same length, and is refused: for requests that a server may read as good ones. */
const REFUSED = '{"name":1234567890}'
const head = ({ origin, bearer, path }: RawWorld, lines: readonly string[] = [], first = `POST ${path} HTTP/1.1`) =>
  [
    first,
    `Host: ${new URL(origin).host}`,
    `Authorization: ${bearer}`,
    'Content-Type: application/json',
    ...lines,
    '',
    '',
  ].join('\r\n')
/** A request that a server must not find in the body of another one. */
const hidden = (world: RawWorld) =>
  head(world, ['Content-Length: 0'], `DELETE /connect/client_secrets/${world.victim} HTTP/1.1`)
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
const lengths = ['-1', '+19', '0x13', '19, 20', '1e1', ' ', '99999999999999999999', 'abc', '1 9', '19;', '١٩']

const SHAPES: Readonly<Record<string, Shape>> = {
  'a length that is none': (world, { number }) =>
    head(world, [`Content-Length: ${lengths[number % lengths.length]}`]) + BODY,
  'a length that is too great': (world, { number }) =>
    head(world, [`Content-Length: ${BODY.length + 1 + number}`]) + BODY,
  'two lengths': (world) => head(world, ['Content-Length: 19', 'Content-Length: 3']) + BODY,
  'a coding that is unknown': (world, { text }) =>
    head(world, [`Transfer-Encoding: x${text}`]) + chunk(BODY) + hidden(world),
  'a coding with a space before its colon': (world) => head(world, ['Transfer-Encoding : chunked']) + hidden(world),
  'a coding behind a vertical tab': (world) => head(world, ['Transfer-Encoding: \x0bchunked']) + hidden(world),
  'two codings': (world) =>
    `${head(world, ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'])}0\r\n\r\n${hidden(world)}`,
  'a chunk size that is none': (world, { text }) =>
    `${head(world, ['Transfer-Encoding: chunked'])}${text}z\r\n${BODY}\r\n0\r\n\r\n`,
  'a chunk size that overflows': (world) =>
    `${head(world, ['Transfer-Encoding: chunked'])}fffffffffffffffff\r\n${BODY}\r\n0\r\n\r\n`,
  'a negative chunk size': (world) => `${head(world, ['Transfer-Encoding: chunked'])}-13\r\n${BODY}\r\n0\r\n\r\n`,
  'a chunk that is shorter than its size': (world) => `${head(world, ['Transfer-Encoding: chunked'])}ff\r\n${BODY}`,
  'chunks without an end': (world) => head(world, ['Transfer-Encoding: chunked']) + chunk(BODY),
  'a chunk without its line end': (world) => `${head(world, ['Transfer-Encoding: chunked'])}13\r\n${BODY}0\r\n\r\n`,
  'a line that is no header': (world, { text }) => head(world, [`no header ${text}`, 'Content-Length: 19']) + REFUSED,
  'a header without a name': (world) => head(world, [': x', 'Content-Length: 19']) + REFUSED,
  'a NUL in a header': (world) => head(world, ['X-Header: a\0b', 'Content-Length: 19']) + REFUSED,
  'a NUL in a name': (world) => head(world, ['X-\0Header: a', 'Content-Length: 19']) + REFUSED,
  'a header of 200 KB': (world) => head(world, [`X-Header: ${'x'.repeat(200_000)}`, 'Content-Length: 19']) + REFUSED,
  'headers of 400 KB': (world) =>
    head(world, [...Array.from({ length: 20_000 }, (_, i) => `X-Header-${i}: y`), 'Content-Length: 19']) + REFUSED,
  'a target that is no path': (world, { text }) => head(world, ['Content-Length: 0'], `POST ${text} HTTP/1.1`),
  'a target of 200 KB': (world) => head(world, ['Content-Length: 0'], `POST /${'x'.repeat(200_000)} HTTP/1.1`),
  'a method that is unknown': (world) => head(world, ['Content-Length: 19'], `STEAL ${world.path} HTTP/1.1`) + BODY,
  'another protocol': (world, { text }) =>
    head(world, ['Content-Length: 19'], `POST ${world.path} HTTP/9.${text}`) + REFUSED,
  'no protocol': (world) => `POST ${world.path}\r\n\r\n`,
  'the preface of HTTP/2': () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'a TLS client hello': () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  'bytes that are no text': (_, { text }) => `\xff\xfe\0${text}\r\n\r\n`,
  'an API key with bytes that are no text': (world) =>
    head({ ...world, bearer: `${world.bearer}\xff\xfe` }, ['Content-Length: 19']) + BODY,
  'a body that is no UTF-8': (world) => `${head(world, ['Content-Length: 12'])}{"name":"\xff"}`,
  'a body with a NUL': (world) => `${head(world, ['Content-Length: 12'])}{"name":"\0"}`,
  'a request without its end': (world, { number }) => head(world, ['Content-Length: 19']).slice(0, 10 + number),
}

const SHAPE_NAMES = Object.keys(SHAPES)

/** A malformed request, whole or in pieces, with its shape. */
export const malformed = (world: RawWorld): fc.Arbitrary<RawRequest & { readonly shape: string }> =>
  fc
    .record({
      shape: fc.constantFrom(...SHAPE_NAMES),
      text: fc.string({ maxLength: 12 }).map((text) => text.replace(/[\r\n]/g, '')),
      number: fc.nat({ max: 40 }),
      pieces: fc.constantFrom(1, 1, 1, 2, 5),
      ending: fc.constantFrom('end' as const, 'end' as const, 'end' as const, 'destroy' as const),
    })
    .map(({ shape, text, number, pieces, ending }) => {
      const bytes = Buffer.from((SHAPES[shape] as Shape)(world, { text, number }), 'latin1')
      return { shape, chunks: inPieces(bytes, pieces), pauseMs: pieces > 1 ? 2 : 0, ending }
    })

/** A request without a fault, in pieces of any size. It creates one secret. */
export const wellFormed = (world: RawWorld): fc.Arbitrary<RawRequest> =>
  fc.record({ pieces: fc.constantFrom(1, 3, 10, 300), isChunked: fc.boolean() }).map(({ pieces, isChunked }) => {
    const whole = isChunked
      ? `${head(world, ['Transfer-Encoding: chunked'])}${chunk('{')}${chunk('}')}0\r\n\r\n`
      : `${head(world, ['Content-Length: 2'])}{}`
    return { chunks: inPieces(Buffer.from(whole, 'latin1'), pieces), pauseMs: pieces > 1 ? 1 : 0, ending: 'end' }
  })

function inPieces(bytes: Buffer, pieces: number): Buffer[] {
  const size = Math.max(1, Math.ceil(bytes.length / pieces))
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size))
}
