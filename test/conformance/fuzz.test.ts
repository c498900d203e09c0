import { describe, expect, inject, test } from 'vitest'
import { judge } from '../fuzz/oracle.ts'
import { fuzz } from '../fuzz/run.ts'
import { seed, size } from '../sizes.ts'

test('every response to random requests keeps every rule', async () => {
  const report = await fuzz({ script: inject('bundle').script, requests: size(1_000, 50_000), seed })
  expect(report.failure).toBe(null)
  expect(report.requests).toBeGreaterThan(500)
})

describe('the judge', () => {
  const secrets = { known: [`sk_0${'k'.repeat(49)}`], canary: `cs_0${'c'.repeat(49)}` }
  const good = {
    'X-Request-ID': '4b9a1f6e-0d0c-4a43-9a2e-0c5a2f0f9d11',
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
    'Content-Security-Policy': "default-src 'none'",
    'Content-Type': 'application/json',
  }
  const found = (
    status: number,
    text: string,
    headers: Record<string, string> = good,
    path = '/connect/applications',
  ) => judge(path, { status, text, headers: new Headers(headers) }, secrets).join()

  test('the judge finds nothing in a good response', () =>
    expect(found(422, '{"message":"Invalid.","code":"invalid"}')).toBe(''))

  test.each<[string, string, string]>([
    ['a 500', found(500, '{"message":"x"}'), 'the status is 500'],
    ['an echoed API key', found(200, `{"name":"${secrets.known[0]}"}`), 'it repeats a credential'],
    ['an echoed canary in an error', found(404, `{"message":"${secrets.canary}"}`), 'it repeats what was sent'],
    [
      'an echoed canary in a header',
      found(303, '', { ...good, Location: `/${secrets.canary}` }),
      'it repeats what was sent',
    ],
    ['an error that is not JSON', found(404, 'x', { ...good, 'Content-Type': 'text/plain' }), 'it is not JSON'],
    ['an error without a code', found(400, '{}'), 'its error has no code'],
    ['a 401 without a challenge', found(401, '{"error":"invalid_client"}'), 'its 401 has no challenge'],
    ['a 429 that does not say when to retry', found(429, '{"message":"x"}'), 'its 429 has no Retry-After'],
    ['a response without a request ID', found(204, '', { ...good, 'X-Request-ID': '' }), 'it has no request ID'],
  ])('the judge finds %s', (_, problems, words) => expect(problems).toContain(words))
})
