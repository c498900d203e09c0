import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import document from '../../src/pages/assets/generated/openapi.json'
import { send } from '../api.ts'
import { counted } from '../faults/wrapped.ts'

const get = (path: string, headers: Record<string, string> = {}, bindings: Partial<Env> = {}) =>
  send(new Request(`https://oncekey.test${path}`, { headers }), bindings)

describe.each(['/', '/docs'])('%s', (path) => {
  test('may load nothing but its own styles, and be framed by nobody', async () => {
    const { status, headers, text } = await get(path)
    expect(status).toBe(200)
    const [, nonce] = /'nonce-([^']+)'/.exec(headers.get('Content-Security-Policy') ?? '') ?? []
    expect(headers.get('Content-Security-Policy')?.split('; ').sort()).toEqual([
      "base-uri 'none'",
      "default-src 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      'img-src data:',
      `style-src 'nonce-${nonce}'`,
    ])
    expect(headers.get('X-Frame-Options')).toBe('DENY')
    expect(headers.get('Referrer-Policy')).toBe('no-referrer')
    expect([...text.matchAll(/<style nonce="([^"]*)"/g)].map(([, given]) => given)).toEqual([nonce])
    expect(text).not.toMatch(/<script|<iframe|<form|\sstyle=|\son\w+=|@import|url\(/i)
  })

  test('leads to this Worker alone, and loads nothing', async () => {
    const { text } = await get(path)
    const targets = [...text.matchAll(/\s(?:href|src)="([^"]*)"/g)].map(([, target = '']) => target)
    expect(targets.filter((target) => !/^(\/(?!\/)|#|data:image\/svg\+xml,)/.test(target))).toEqual([])
    const ids = new Set([...text.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id))
    for (const target of targets.filter((one) => one.startsWith('#'))) expect(ids).toContain(target.slice(1))
    for (const target of new Set(targets.filter((one) => /^\/(?!dashboard)/.test(one)))) {
      expect((await get(target)).status, target).toBe(200)
    }
  })

  test('is the same for everybody, and asks storage nothing', async () => {
    const counter = counted(env.DB)
    const replies = [
      await get(path, {}, { DB: counter.database }),
      await get(
        path,
        { Cookie: 'a=b', Authorization: 'Bearer x', Origin: 'https://evil.example' },
        { DB: counter.database },
      ),
    ]
    const [one, other] = replies.map(({ text }) => text.replaceAll(/nonce="[^"]*"/g, ''))
    expect(one).toBe(other)
    expect(counter.trips).toBe(0)
    for (const { headers } of replies) {
      expect([...headers.keys()].filter((name) => /^(access-control-|set-cookie)/.test(name))).toEqual([])
    }
  })
})

describe('/docs', () => {
  test('has every call, and every refusal', async () => {
    const { text } = await get('/docs')
    const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods))
    for (const { operationId } of operations) {
      expect(text).toContain(`<article id="${operationId}">`)
      expect(text).toContain(`<li><a href="#${operationId}">`)
    }
    for (const name of Object.keys(document.components.examples)) expect(text).toContain(`id="error-${name}"`)
  })

  test('names the issuer’s origin, whatever the Host says; the request’s where there is none', async () => {
    const lines = async (url: string, ISSUER: string) => {
      const { text } = await send(new Request(url), { ISSUER })
      expect(text).not.toContain('oncekey.invalid')
      return new Set(
        [...text.matchAll(/curl (?:-X \w+ )?["']?(?:&quot;|&#39;)?(https?:\/\/[^/"\s]+)/g)].map(([, origin]) => origin),
      )
    }
    expect(await lines('https://evil.example/docs', 'https://secrets.example.com')).toEqual(
      new Set(['https://secrets.example.com']),
    )
    expect(await lines('http://127.0.0.1:8787/docs', '')).toEqual(new Set(['http://127.0.0.1:8787']))
  })

  test('says so in the log, and 500 outside, where its assets were not deployed', async () => {
    const ASSETS = { fetch: async () => new Response(null, { status: 404 }) } as unknown as Fetcher
    expect((await get('/docs', {}, { ASSETS })).status).toBe(500)
    expect((await get('/openapi.json', {}, { ASSETS })).status).toBe(500)
  })
})

test('/openapi.json is the document', async () => {
  expect((await get('/openapi.json')).json).toEqual(document)
})

test('assets have no paths of their own', async () => {
  expect((await get('/docs.html')).status).toBe(404)
})
