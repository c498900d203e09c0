import { describe, expect, test } from 'vitest'
import { rawCreates } from './raw-creates.ts'

const { create, countSecrets, expectRefused } = await rawCreates()

describe('the media type of a body', () => {
  test.each([
    'application/json',
    'APPLICATION/JSON; Charset=UTF-8',
    'application/json;charset=utf-8',
    'application/json ; charset="utf-8"',
    'application/json;',
    'Application/Json;odata=verbose;x=y',
  ])('the media type application/json is accepted in every form of RFC 9110 §8.3.1: %s', async (type) => {
    expect((await create('{}', { type })).status).toBe(201)
  })

  test.each([
    ...[
      'text/plain',
      'text/plain;charset=UTF-8',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
    ],
    ...[
      'text/json',
      'application/jsonp',
      'application/json5',
      'application/x-json',
      'application/ld+json',
      'application/*',
    ],
    ...[
      'application/json, text/plain',
      'text/plain, application/json',
      'text/plain; application/json',
      'application/json/x',
    ],
    ...[
      'application/octet-stream',
      'application/xml',
      'text/html',
      '*/*',
      'json',
      'application',
      'application/javascript',
      '',
    ],
  ])('another media type gets 415, so that a form of another site is refused (CVE-2024-43787): %s', async (type) => {
    await expectRefused('{}', 415, 'unsupported_media_type', { type })
  })

  test('a body without a media type gets 415', async () => {
    await expectRefused('{}', 415, 'unsupported_media_type', { type: null })
    await expectRefused(' ', 415, 'unsupported_media_type', { type: null })
  })

  test.each([
    'application/json',
    'application/json; charset=utf-8',
    'text/plain',
    'application/x-www-form-urlencoded',
    '',
    null,
  ])('an empty body is read as {}, whatever its media type: %s', async (type) => {
    for (const body of [null, '', new ReadableStream({ start: (controller) => controller.close() })]) {
      expect((await create(body, { type })).status).toBe(201)
    }
  })

  test.each(['gzip', 'deflate', 'br', 'zstd', 'compress', 'gzip, gzip', 'GZIP', 'x'])(
    'a compressed body gets 415 (CWE-409): %s',
    async (encoding) => {
      const zipped = new Blob(['{}']).stream().pipeThrough(new CompressionStream('gzip'))
      const headers = { 'Content-Encoding': encoding }
      await expectRefused(await new Response(zipped).bytes(), 415, 'unsupported_media_type', { headers })
      await expectRefused('{}', 415, 'unsupported_media_type', { headers })
    },
  )
})

describe('the size of a body', () => {
  const LIMIT = 65_536
  const padded = (length: number) => `{"a":"${'x'.repeat(length - 8)}"}`

  test('a body of 64 KiB is accepted, and a body with one more byte gets 413', async () => {
    expect(padded(LIMIT)).toHaveLength(LIMIT)
    expect((await create(padded(LIMIT))).status).toBe(201)
    await expectRefused(padded(LIMIT + 1), 413, 'payload_too_large')
  })

  test('the size of a body is counted in bytes, not in characters', async () => {
    await expectRefused(`{"a":"${'€'.repeat(22_000)}"}`, 413, 'payload_too_large')
  })

  test.each(['2', '65536', '0', '-1', 'x', '99999999999999999999'])(
    'the size limit applies to the bytes that arrive, even if Content-Length is wrong: %s',
    async (length) => {
      const headers = { 'Content-Length': length }
      await expectRefused(padded(LIMIT + 1), 413, 'payload_too_large', { headers })
      expect((await create('{}', { headers })).status).toBe(201)
    },
  )

  test('a body that is too large gets 413, even if it has other faults', async () => {
    await expectRefused('['.repeat(LIMIT + 1), 413, 'payload_too_large')
    await expectRefused(padded(LIMIT + 1), 413, 'payload_too_large', { type: 'text/plain' })
    await expectRefused(new Uint8Array(1_000_000).fill(0xff), 413, 'payload_too_large')
  })

  test('a body without Content-Length is read only up to the limit', async () => {
    let pulled = 0
    let isCancelled = false
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled++
        controller.enqueue(new TextEncoder().encode(' '.repeat(1024)))
      },
      cancel() {
        isCancelled = true
      },
    })
    await expectRefused(endless, 413, 'payload_too_large')
    expect(pulled).toBeLessThan(80)
    expect(isCancelled).toBe(true)
  })

  test('a body whose connection breaks is refused, and changes nothing', async () => {
    const before = await countSecrets()
    const broken = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('{}'))
        controller.error(new Error('the connection broke'))
      },
    })
    await expectRefused(broken, 400, 'malformed_request')
    expect(await countSecrets()).toBe(before)
  })

  test('a body is accepted in chunks of any size', async () => {
    const bytes = new TextEncoder().encode('{"é€😀":"\\u00e9"}'.padEnd(5000))
    for (const size of [1, 7, 4096]) {
      const chunked = new ReadableStream({
        start(controller) {
          for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size))
          controller.close()
        },
      })
      expect((await create(chunked)).status).toBe(201)
    }
  })
})
