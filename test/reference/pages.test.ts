import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { app } from '../../src/app.ts'
import { BACKOFF_MS } from '../../src/events/retry-delays.ts'
import document from '../../src/pages/assets/generated/openapi.json'
import { EVENT_TYPES } from '../../src/storage/events.ts'
import { send } from '../api.ts'
import { counted } from '../faults/wrapped.ts'

const get = (path: string, headers: Record<string, string> = {}, bindings: Partial<Env> = {}) =>
  send(new Request(`https://oncekey.test${path}`, { headers }), bindings)

describe.each(['/', '/docs'])('%s', (path) => {
  test('the security policy of the page allows only styles and images of this Worker, and at /docs also its script', async () => {
    const { status, headers, text } = await get(path)
    expect(status).toBe(200)
    expect(headers.get('Content-Security-Policy')?.split('; ').sort()).toEqual([
      "base-uri 'none'",
      "default-src 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "img-src 'self'",
      "require-trusted-types-for 'script'",
      ...(path === '/docs' ? ["script-src 'self'"] : []),
      "style-src 'self'",
      "trusted-types 'none'",
    ])
    expect(headers.get('X-Frame-Options')).toBe('DENY')
    expect(headers.get('Referrer-Policy')).toBe('no-referrer')
    const scripts = [...text.matchAll(/<script.*?<\/script>/gs)].map(([script]) => script)
    expect(scripts).toEqual(path === '/docs' ? ['<script type="module" src="/static/reference.js"></script>'] : [])
    const code = /<pre tabindex="0">.*?<\/pre>/gs
    expect(text.replace(code, '')).not.toMatch(/<style|<iframe|<form|\sstyle=|\son\w+=|@import|url\(/i)
  })

  test('the page links only to this Worker, and every link outside the dashboard works', async () => {
    const { text } = await get(path)
    const targets = [...text.matchAll(/\s(?:href|src)="([^"]*)"/g)].map(([, target = '']) => target)
    expect(targets.filter((target) => !/^(\/(?!\/)|#)/.test(target))).toEqual([])
    const ids = new Set([...text.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id))
    for (const target of targets.filter((one) => one.startsWith('#'))) expect(ids).toContain(target.slice(1))
    for (const target of new Set(targets.filter((one) => /^\/(?!dashboard)/.test(one)))) {
      const isAsset = target.startsWith('/static/')
      const response = isAsset ? env.ASSETS.fetch(`https://oncekey.test${target}`) : get(target)
      expect((await response).status, target).toBe(200)
    }
  })

  test('the page is the same for every caller, without a database request', async () => {
    const counter = counted(env.DB)
    const replies = [
      await get(path, {}, { DB: counter.database }),
      await get(
        path,
        { Cookie: 'a=b', Authorization: 'Bearer x', Origin: 'https://evil.example' },
        { DB: counter.database },
      ),
    ]
    const [one, other] = replies.map(({ text }) => text)
    expect(one).toBe(other)
    expect(counter.trips).toBe(0)
    for (const { headers } of replies) {
      expect([...headers.keys()].filter((name) => /^(access-control-|set-cookie)/.test(name))).toEqual([])
    }
  })
})

describe('/docs', () => {
  test('/docs has every call and every error', async () => {
    const { text } = await get('/docs')
    const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods))
    for (const { operationId, tags } of operations) {
      const isAppendix = tags[0] === 'Service'
      expect(text).toContain(isAppendix ? `<div id="${operationId}">` : `<article id="${operationId}">`)
      if (!isAppendix) expect(text).toContain(`<li><a href="#${operationId}">`)
    }
    const errors = [...Object.keys(document.components.examples), 'not_found', 'method_not_allowed']
    for (const name of errors) expect(text).toContain(`id="error-${name}"`)
  })

  test('/docs says for each response member whether it is always present, and for each parameter whether it is required', async () => {
    const { text } = await get('/docs')
    const parts = [...text.matchAll(/<h4>(\w+)<\/h4>(.*?)(?=<h4>|<div class="example">)/gs)]
    expect(new Set(parts.map(([, title]) => title))).toEqual(new Set(['Path', 'Query', 'Headers', 'Body', 'Returns']))
    for (const [, title, part = ''] of parts) {
      const words = [...part.matchAll(/<small>(.*?)<\/small>/g)].map(([, word = '']) => word)
      for (const word of words) {
        expect(title === 'Returns' ? ['always present', 'may be absent'] : ['<b>required</b>', 'optional']).toContain(
          word,
        )
      }
    }
    expect(text).toMatch(/<code>last_used_at<\/code> <span>string, nullable<\/span> <small>always present<\/small>/)
  })

  test('/docs describes variants with the same members once, and describes only in the guide the errors that all calls share', async () => {
    const { text } = await get('/docs')
    const [, event = ''] = /<article id="Event">(.*?)<\/article>/s.exec(text) ?? []
    const variants = [
      ...event.matchAll(/<p class="kind">When .*?<\/p>(.*?)(?=<p class="kind">When|<div class="example">)/gs),
    ]
    expect(variants.length).toBeGreaterThan(5)
    expect(new Set(variants.map(([, members]) => members)).size).toBe(variants.length)
    for (const type of EVENT_TYPES) expect(event).toContain(`&quot;${type}&quot;`)
    const calls = [...text.matchAll(/<article.*?<\/article>/gs)].join('')
    const [, guide = ''] = /<section id="errors".*?>(.*?)<table/s.exec(text) ?? []
    for (const code of ['https_required', 'rate_limit_exceeded', 'service_unavailable', 'internal_error']) {
      expect(calls).not.toContain(`href="#error-${code}"`)
      expect(guide).toContain(`<code>${code}</code>`)
    }
  })

  test('the commands at /docs have the issuer’s URL, or the URL of the request’s host if no issuer is set', async () => {
    const origins = async (url: string, ISSUER: string) => {
      const { text } = await send(new Request(url), { ISSUER })
      expect(text).not.toContain('oncekey.invalid')
      return new Set(
        [...text.matchAll(/curl (?:-X \w+ )?["']?(?:&quot;|&#39;)?(https?:\/\/[^/"\s]+)/g)].map(([, origin]) => origin),
      )
    }
    expect(await origins('https://evil.example/docs', 'https://secrets.example.com')).toEqual(
      new Set(['https://secrets.example.com']),
    )
    expect(await origins('http://127.0.0.1:8787/docs', '')).toEqual(new Set(['http://127.0.0.1:8787']))
  })

  test('/docs returns 500 if the assets were not deployed', async () => {
    const ASSETS = { fetch: async () => new Response(null, { status: 404 }) } as unknown as Fetcher
    expect((await get('/docs', {}, { ASSETS })).status).toBe(500)
    expect((await get('/openapi.json', {}, { ASSETS })).status).toBe(500)
  })
})

describe.each([
  ['/docs.md', 'text/markdown; charset=UTF-8'],
  ['/llms.txt', 'text/plain; charset=UTF-8'],
])('%s', (path, type) => {
  test('the file has every call and the title of every guide, with the issuer’s URL', async () => {
    const { text, headers } = await send(new Request(`https://evil.example${path}`), {
      ISSUER: 'https://secrets.example.com',
    })
    expect(headers.get('Content-Type')).toBe(type)
    expect(text).not.toMatch(/oncekey\.invalid|evil\.example|127\.0\.0\.1:8787/)
    expect(text).toContain('https://secrets.example.com')
    const page = await get('/docs')
    const guides = [...page.text.matchAll(/class="guide">\n<h2><a href="#\w+">(.*?)<\/a>/g)].map(
      ([, title = '']) => title,
    )
    expect(guides).toContain('Idempotency and retries')
    for (const title of guides) expect(text).toContain(title)
    for (const [call, methods] of Object.entries(document.paths)) {
      for (const [method, { tags }] of Object.entries(methods)) {
        if (tags[0] !== 'Service') expect(text).toContain(`\`${method.toUpperCase()} ${call}\``)
      }
    }
  })

  test('/docs has a link to the file', async () => {
    expect((await get('/docs')).text).toContain(`<a href="${path}">`)
  })
})

describe('/docs.md', () => {
  test('/docs.md describes every event type', async () => {
    const { text } = await get('/docs.md')
    const [, types = ''] = /## Events and webhooks\n(.*?)### Webhooks/s.exec(text) ?? []
    for (const type of EVENT_TYPES) expect(types).toContain(`\`${type}\``)
  })

  test('/docs.md has the schedule by which the Worker retries webhooks', async () => {
    const { text } = await get('/docs.md')
    const [, waits = ''] = /is retried after (.*?) \|/.exec(text) ?? []
    const units: Record<string, number> = { s: 1_000, min: 60_000, h: 3_600_000 }
    const parsed = [...waits.matchAll(/(\d+) (s|min|h)\b/g)].map(([, n, unit = '']) => Number(n) * (units[unit] ?? 0))
    expect(parsed).toEqual(BACKOFF_MS)
  })

  test('/docs.md has every error and every object, and contains no HTML', async () => {
    const { text } = await get('/docs.md')
    for (const name of Object.keys(document.components.examples)) {
      expect(text).toMatch(new RegExp(`\\| \`${name.replace('oauth_', '').slice(0, 4)}`))
    }
    for (const name of ['Application', 'ClientSecret', 'Event']) expect(text).toContain(`### ${name}\n`)
    expect(text.replace(/```.*?```|`[^`]*`/gs, '')).not.toMatch(/<\w+|&\w+;/)
  })

  test('/docs.md shows the Node SDK’s options for the host, port and scheme of the issuer', async () => {
    const optionsAt = async (ISSUER: string) =>
      /new WorkOS\(process\.env\.API_KEY, (.*?)\)/.exec((await get('/docs.md', {}, { ISSUER })).text)?.[1]
    expect(await optionsAt('https://secrets.example.com')).toBe(`{ apiHostname: 'secrets.example.com' }`)
    expect(await optionsAt('http://127.0.0.1:8787')).toBe(`{ apiHostname: '127.0.0.1', port: 8787, https: false }`)
  })
})

test('/openapi.json returns the generated document', async () => {
  expect((await get('/openapi.json')).json).toEqual(document)
})

test('the generated files cannot be requested by their file names', async () => {
  expect((await get('/docs.html')).status).toBe(404)
  expect((await get('/generated/docs.html')).status).toBe(404)
})

describe('an unknown path', () => {
  const accept = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'

  test.each(['/nothing', '/docs/nothing', '/<b>'])('an unknown path returns a page to a browser: %s', async (path) => {
    const request = new Request(`https://oncekey.test${path}`, { headers: { Accept: accept } })
    const response = await app.fetch(request, env, createExecutionContext())
    const { headers } = response
    const text = await response.text()
    expect(response.status).toBe(404)
    expect(headers.get('Content-Type')).toMatch(/^text\/html/)
    expect(headers.get('Content-Security-Policy')).toContain("style-src 'self'")
    expect(headers.get('Cache-Control')).toBe('no-store')
    expect(text).toContain('Page not found')
    expect(text).not.toContain(path)
  })

  test.each([
    ['/nothing', '*/*'],
    ['/nothing', 'application/json'],
    ['/nothing', 'text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2'],
    ['/connect/nothing', accept],
    ['/events/nothing', accept],
    ['/oauth2/nothing', accept],
  ])(
    'an unknown path returns JSON to a program, and in the API to every client: %s with Accept %s',
    async (path, Accept) => {
      const { status, json } = await get(path, { Accept })
      expect([status, typeof json]).toEqual([404, 'object'])
    },
  )
})
