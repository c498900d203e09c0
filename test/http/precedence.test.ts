import { describe, expect, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { call, newApiKey, newApplication, newLimitedApiKey, send } from '../api.ts'

const writer = await newApiKey()
const reader = await newApiKey({ access: 'read', environmentId: writer.environmentId })
const application = await newApplication(writer.apiKey)
const limitedKey = await newLimitedApiKey({ environmentId: writer.environmentId })
const unknownKey = (await issueCredential('sk', '0')).plaintext

/** A request that is right in every respect, and by and by is not. */
interface Draft {
  method: string
  path: string
  key: string
  headers: Record<string, string>
  body: string
  /** Bytes, by trailing spaces. */
  length: number
}

interface Fault {
  readonly name: string
  /** The order of the checks: of two faults, the response names the earlier one. */
  readonly stage: number
  readonly answer: [status: number, code: string]
  readonly make: (draft: Draft) => void
  /** Faults that are about the same part of the request cannot be had together. */
  readonly part: string
}

const fault = (stage: number, name: string, part: string, answer: [number, string], make: Fault['make']): Fault => ({
  stage,
  name,
  part,
  answer,
  make,
})

const set =
  <K extends keyof Draft>(member: K, value: Draft[K]) =>
  (draft: Draft) => {
    draft[member] = value
  }
const setHeader = (name: string, value: string) => (draft: Draft) => {
  draft.headers[name] = value
}

/** The contract's order: 404 of a route and 405, then 429, 401, 403, 413 and 415, 400 and 422, 404. */
const FAULTS: Fault[] = [
  fault(1, 'an unknown route', 'route', [404, 'not_found'], set('path', '/connect/nothing')),
  fault(1, 'a wrong method', 'route', [405, 'method_not_allowed'], set('method', 'PATCH')),
  fault(2, 'too many calls', 'key', [429, 'rate_limit_exceeded'], set('key', limitedKey)),
  fault(3, 'an unknown key', 'key', [401, 'unauthorized'], set('key', unknownKey)),
  fault(4, 'a read-only key', 'key', [403, 'forbidden'], set('key', reader.apiKey)),
  fault(5, 'a body over 64 KiB', 'length', [413, 'payload_too_large'], set('length', 65_537)),
  fault(
    5,
    'a body with the media type text/plain',
    'type',
    [415, 'unsupported_media_type'],
    setHeader('Content-Type', 'text/plain'),
  ),
  fault(5, 'a compressed body', 'encoding', [415, 'unsupported_media_type'], setHeader('Content-Encoding', 'gzip')),
  fault(6, 'a body that is not JSON', 'value', [400, 'malformed_request'], set('body', '{')),
  fault(6, 'a body that is not an object', 'value', [422, 'invalid_request_parameters'], set('body', '[]')),
  fault(
    6,
    'a parameter of another type',
    'value',
    [422, 'invalid_request_parameters'],
    set('body', '{"name":1,"description":1}'),
  ),
  fault(7, 'an unknown application', 'id', [404, 'entity_not_found'], (draft) => {
    draft.path = draft.path.replace(application.id, 'conn_app_unknown')
  }),
]
const KEYED = [
  ...FAULTS.filter(({ part, answer }) => part !== 'value' || answer[0] === 400),
  fault(
    6,
    'a malformed Idempotency-Key',
    'idempotency',
    [422, 'invalid_idempotency_key'],
    setHeader('Idempotency-Key', 'a b'),
  ),
]

const ROUTES: [method: string, path: string, body: string, faults: Fault[]][] = [
  ['PUT', `/connect/applications/${application.id}`, '{"name":"changed"}', FAULTS],
  ['POST', `/connect/applications/${application.id}/client_secrets`, '{}', KEYED],
]

describe.each(ROUTES)(
  'a request with several faults gets the error of the fault that is checked first: %s',
  (method, path, body, faults) => {
    const sendWith = (...made: Fault[]) => {
      const draft: Draft = {
        method,
        path,
        key: writer.apiKey,
        headers: { 'Content-Type': 'application/json' },
        body,
        length: 0,
      }
      for (const { make } of made) make(draft)
      const headers = { Authorization: `Bearer ${draft.key}`, ...draft.headers }
      return send(
        new Request(`https://oncekey.test${draft.path}`, {
          method: draft.method,
          headers,
          body: draft.body.padEnd(draft.length),
        }),
      )
    }

    test('a request without a fault succeeds', async () => expect((await sendWith()).status).toBeLessThan(300))

    test.each(faults)('a request with the fault “$name” alone gets $answer', async (alone) => {
      const { status, json } = await sendWith(alone)
      expect([status, json.code]).toEqual(alone.answer)
    })

    const pairs = faults.flatMap((first) =>
      faults
        .filter((second) => second.stage > first.stage && second.part !== first.part)
        .map((second) => ({ first, second })),
    )

    test.each(pairs)(
      '“$first.name” is reported, and not “$second.name”, if a request has both faults',
      async ({ first, second }) => {
        const { status, json } = await sendWith(second, first)
        expect([status, json.code]).toEqual(first.answer)
      },
    )

    test('each fault is reported even if the request also has all faults that are checked later', async () => {
      for (const first of faults) {
        const later = pairs.filter((pair) => pair.first === first).map(({ second }) => second)
        const parts = [...new Map(later.map((second) => [second.part, second])).values()]
        const { status, json } = await sendWith(...parts, first)
        expect([status, json.code], first.name).toEqual(first.answer)
      }
    })
  },
)

test('a malformed API key gets 401 even if the body is invalid, and calls no rate-limit binding', async () => {
  const limit = vi.fn(async () => ({ success: false }))
  const reply = await call('sk_nonsense', 'POST', '/connect/applications', {
    body: 1,
    bindings: { MANAGEMENT_CALLS: { limit }, FAILED_AUTHENTICATIONS: { limit } },
  })
  expect([reply.status, limit.mock.calls]).toEqual([401, []])
})
