import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import document from '../../src/pages/assets/generated/openapi.json'
import type { OpenApi } from '../../src/reference/generate/openapi.ts'
import { newApiKey } from '../operator.ts'
import { serve } from '../served.ts'
import { workosAt } from './workos.ts'

const served = await serve({ tokens: 'ES256' })
const [origin] = served.origins
const { apiKey } = await newApiKey(served.database)
const { connect } = workosAt(origin, apiKey, served)

/** The commands of the page, as a reader copies them. */
const page = await (await served.fetch(`${origin}/docs`)).text()
const lines = [...page.matchAll(/<article id="(\w+)">.*?<pre class="curl"><code>(.*?)<\/code>/gs)].map(
  ([, id = '', line = '']) => ({ id, line: unescaped(line) }),
)

function unescaped(html: string): string {
  const characters: Record<string, string> = { lt: '<', gt: '>', quot: '"', '#39': "'", amp: '&' }
  return html.replace(/&(lt|gt|quot|#39|amp);/g, (_, name) => characters[name] ?? '')
}

const operations = Object.values((document as unknown as OpenApi).paths).flatMap((methods) => Object.values(methods))

test('every call has a command', () => {
  expect(lines.map(({ id }) => id).sort()).toEqual(operations.map(({ operationId }) => operationId).sort())
})

/** The shell variables that the page asks its reader to set. */
async function newReader(): Promise<Record<string, string>> {
  const application = await connect.createM2MApplication('Nightly', 'org_01EHZNVPK3SFK441A1RGBFSHRT')
  const secret = await connect.createApplicationClientSecret({ id: application.id })
  const response = await served.fetch(`${origin}/oauth2/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: application.clientId,
      client_secret: secret.secret,
    }),
  })
  const { access_token } = (await response.json()) as { access_token: string }
  return {
    API_KEY: apiKey,
    APPLICATION_ID: application.id,
    CLIENT_ID: application.clientId,
    SECRET_ID: secret.id,
    CLIENT_SECRET: secret.secret,
    ACCESS_TOKEN: access_token,
  }
}

describe('each command works when pasted', () => {
  test.each(lines)('$id', async ({ id, line }) => {
    const operation = operations.find(({ operationId }) => operationId === id)
    expect(line).toContain(origin)
    const silent = line.replace(/^curl /, 'curl -sS -w "\\n%{http_code}" ')
    const env = { PATH: process.env.PATH, ...(await newReader()) } as unknown as NodeJS.ProcessEnv
    const { stdout } = await promisify(execFile)('sh', ['-c', silent], { env, timeout: 20_000 })
    const status = stdout.slice(stdout.lastIndexOf('\n') + 1)
    expect(status, stdout).toBe(Object.keys(operation?.responses ?? {})[0])
    if (id === 'verifyClientSecret') expect(stdout).toContain('"valid":true')
    if (id === 'introspectAccessToken') expect(stdout).toContain('"active":true')
  })
})
