import { describe, expect, inject, test } from 'vitest'
import { judge } from '../fuzz/oracle.ts'
import { fuzz } from '../fuzz/run.ts'
import { fuzzRaw } from '../fuzz/run-raw.ts'
import { seed, size } from '../sizes.ts'

test('every response to random requests satisfies all rules of the fuzzer', async () => {
  const report = await fuzz({ script: inject('bundle').script, requests: size(300, 50_000), seed })
  expect(report.failure).toBe(null)
  expect(report.requests).toBeGreaterThan(250)
})

test('malformed HTTP and randomly changed requests of real clients never get 500, and change nothing if they are refused', async () => {
  const { script } = inject('bundle')
  const report = await fuzzRaw({ script, sockets: size(96, 4_000), recorded: size(192, 20_000), seed })
  expect(report.failures).toEqual([])
  expect(report.statuses.get(201)).toBeGreaterThan(0)
})

describe.runIf(inject('isLong'))('the fuzzer of raw HTTP', () => {
  const onRefusal = (action: string) => `
    import worker from '../../src/index.ts'
    export default {
      async fetch(request, env, context) {
        const credential = request.headers.get('Authorization') ?? ''
        const response = await worker.fetch(request, env, context)
        if (response.status < 400) return response
        ${action}
        return response
      },
    }`

  test.each([
    ['an echoed API key', 'return new Response(credential, response)', 'it repeats a credential'],
    ['a 500', 'return new Response(response.body, { status: 500, headers: response.headers })', 'the status is 500'],
    [
      'a refused request that changes something',
      "await env.DB.prepare('DELETE FROM client_secrets WHERE id = (SELECT min(id) FROM client_secrets)').run()",
      'changed something',
    ],
    ['a response that never comes', 'await new Promise((resolve) => setTimeout(resolve, 60_000))', 'hangs'],
  ])('the fuzzer of raw HTTP finds %s', async (_, action, words) => {
    const { script } = inject('bundle')
    const report = await fuzzRaw({ script, wrapper: onRefusal(action), sockets: 400, recorded: 80, seed })
    expect(report.failures.join()).toContain(words)
  })
})

describe('the rules of the fuzzer', () => {
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

  test('the rules of the fuzzer accept a correct response', () =>
    expect(found(422, '{"message":"Invalid.","code":"invalid"}')).toBe(''))

  test.each<[string, string, string]>([
    ['a 500', found(500, '{"message":"x"}'), 'the status is 500'],
    ['an echoed API key', found(200, `{"name":"${secrets.known[0]}"}`), 'it repeats a credential'],
    [
      'an error that repeats a value from the request',
      found(404, `{"message":"${secrets.canary}"}`),
      'it repeats what was sent',
    ],
    [
      'a header that repeats a value from the request',
      found(303, '', { ...good, Location: `/${secrets.canary}` }),
      'it repeats what was sent',
    ],
    ['an error that is not JSON', found(404, 'x', { ...good, 'Content-Type': 'text/plain' }), 'it is not JSON'],
    ['an error without a code', found(400, '{}'), 'its error has no code'],
    ['a 401 without a challenge', found(401, '{"error":"invalid_client"}'), 'its 401 has no challenge'],
    ['a 429 that does not say when to retry', found(429, '{"message":"x"}'), 'its 429 has no Retry-After'],
    ['a response without a request ID', found(204, '', { ...good, 'X-Request-ID': '' }), 'it has no request ID'],
  ])('the rules of the fuzzer find %s', (_, problems, words) => expect(problems).toContain(words))
})
