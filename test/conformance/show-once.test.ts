import { describe, expect, test, vi } from 'vitest'
import { newApiKey } from '../operator.ts'
import { serve } from '../served.ts'
import { isInstalled, LANGUAGE_NAMES, runSample, textOf } from './samples.ts'

/** The programs of the page that shows a secret once, run as they are shown there. */

vi.setConfig({ testTimeout: 120_000 })

const served = await serve({ tokens: 'ES256' })
const [origin] = served.origins
const { apiKey, environmentId } = await newApiKey(served.database)

async function post(path: string, fields: Record<string, string>, cookie = ''): Promise<Response> {
  const body = new URLSearchParams({ environment: environmentId, ...fields })
  return fetch(origin + path, { method: 'POST', headers: { Origin: origin, Cookie: cookie }, body, redirect: 'manual' })
}

const signedIn = await post('/dashboard/sign-in', { api_key: apiKey })
const cookie = signedIn.headers.getSetCookie()[0]?.split(';')[0]

/** Characters that end a string, or start an expression, in one of the languages. */
const SCOPES = ["it's", '#{x}', '$HOME', '`id`', 'plain:read']

/** The page after creating a secret: the text of each `pre`, by its ID. */
async function showOnce(application: object): Promise<Map<string, string>> {
  const headers = { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' }
  const body = JSON.stringify({ name: 'Nightly', ...application })
  const created = await fetch(`${origin}/connect/applications`, { method: 'POST', headers, body })
  const { id } = (await created.json()) as { id: string }
  const path = `/dashboard/applications/${id}/new-secret`
  const form = await (await fetch(origin + path, { headers: { Cookie: `${cookie}` } })).text()
  const token = /name="token" value="([^"]*)"/.exec(form)?.[1] ?? ''
  const page = await (await post(path, { token, name: '', lifetime: '0' }, cookie)).text()
  return new Map(
    [...page.matchAll(/<pre id="(\w+)"[^>]*>(.*?)<\/pre>/gs)].map(([, name = '', text = '']) => [name, textOf(text)]),
  )
}

const m2m = await showOnce({ application_type: 'm2m', organization_id: 'org_1', scopes: SCOPES })
const oauth = await showOnce({ application_type: 'oauth', is_first_party: true })
const variablesOf = (page: Map<string, string>) =>
  Object.fromEntries([...(page.get('env') ?? '').matchAll(/^(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]))

describe.each(LANGUAGE_NAMES)('the %s program on the page of a new secret', (language) => {
  const run = (page: Map<string, string>, more: Record<string, string> = {}) => {
    const code = page.get(language.toLowerCase()) ?? ''
    return runSample({ language, code }, { ...variablesOf(page), ...more }, { '.env': `${page.get('env')}\n` })
  }

  test.skipIf(!isInstalled(language))(
    'the pasted program obtains a token or, for an oauth application, checks one',
    async () => {
      const { output } = await run(m2m)
      const token = /[\w-]+\.[\w-]+\.[\w-]{40,}/.exec(output)?.[0] ?? ''
      const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
      expect(claims.scope).toBe(SCOPES.join(' '))
      expect((await run(oauth, { TOKEN: token })).output).toMatch(/\btrue\b/i)
    },
  )
})
