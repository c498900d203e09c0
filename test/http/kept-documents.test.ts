import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { app } from '../../src/app.ts'

const DOCUMENTS = ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration', '/oauth2/jwks']

/** The Worker of one isolate: its settings are the same object in every request. */
function isolate(bindings: Partial<Env> = {}) {
  const settings: Env = { ...env, ...bindings }
  return async (url: string, init?: RequestInit): Promise<Response> =>
    app.fetch(new Request(url, init), settings, createExecutionContext())
}

/** Everything but the request's own ID. */
async function answerOf(response: Response) {
  const headers = [...response.headers].filter(([name]) => name !== 'x-request-id')
  return { status: response.status, headers, body: await response.text() }
}

afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

describe.each(DOCUMENTS)('the public document %s', (path) => {
  const url = `https://oncekey.test${path}`

  test('a public document that is served again from memory has the same content, a new request ID and no log entry', async () => {
    const get = isolate()
    const logged = vi.spyOn(console, 'log').mockImplementation(() => {})
    const first = await get(url)
    const second = await get(url)
    expect(logged).toHaveBeenCalledTimes(1)
    expect(second.headers.get('X-Request-ID')).not.toBe(first.headers.get('X-Request-ID'))
    expect(await answerOf(second)).toEqual(await answerOf(first))
  })

  test('a changed setting takes effect immediately, even if the public document was kept in memory', async () => {
    await isolate()(url)
    expect((await isolate({ ISSUER: '', SIGNING_KEY: 'damaged' })(url)).status).toBe(500)
  })

  test('a public document is kept in memory for a minute', async () => {
    vi.useFakeTimers({ now: Date.now() })
    const get = isolate()
    const logged = vi.spyOn(console, 'log').mockImplementation(() => {})
    await get(url)
    vi.advanceTimersByTime(60_000)
    await get(url)
    expect(logged).toHaveBeenCalledTimes(2)
  })

  test('a public document that was kept for GET over https is not returned for other methods or plain http', async () => {
    const get = isolate()
    await get(url)
    expect((await get(url, { method: 'POST' })).status).toBe(405)
    expect(await (await get(url, { method: 'HEAD' })).text()).toBe('')
    expect((await get(url, { method: 'OPTIONS' })).headers.get('Access-Control-Allow-Methods')).toBe('GET,HEAD')
    expect((await get(url.replace('https:', 'http:'))).status).toBe(403)
  })

  test('a failed response of a public document is not kept in memory', async () => {
    const get = isolate({ ISSUER: '', SIGNING_KEY: 'damaged' })
    vi.spyOn(console, 'error').mockImplementation(() => {})
    const logged = vi.spyOn(console, 'log').mockImplementation(() => {})
    await get(url)
    await get(url)
    expect(logged).toHaveBeenCalledTimes(2)
  })
})
