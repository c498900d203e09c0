import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { newApiKey } from '../operator.ts'
import { serve } from '../served.ts'

/** README's "Rotate without an outage", word for word, while a client fetches tokens. */
const readme = await readFile(`${import.meta.dirname}/../../README.md`, 'utf8')
const section = readme.split('\n## ').find((text) => text.startsWith('Rotate without an outage')) ?? ''
const [ROTATE = '', WATCH = '', REVOKE = '', KEEP = ''] = section.match(/^curl (.*\\\n)*.*$/gm) ?? []
const EXPIRE = KEEP.replace(`'{"expires_at":null}'`, String.raw`"{\"expires_at\":\"$IN_A_SECOND\"}"`)

const CLIENTS = 4
/** Tokens that are fetched at each stage before the next begins. */
const AT_LEAST = 40

const { database, origins, fetch } = await serve({ tokens: 'ES256', rateLimits: false })
const [origin] = origins
const { apiKey } = await newApiKey(database)

interface Secret {
  readonly id: string
  readonly secret: string
}

async function manage(method: string, path: string, body?: object) {
  const response = await fetch(`${origin}/connect${path}`, {
    method,
    headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  })
  return response.json() as Promise<Record<string, string>>
}

async function run(command: string, variables: Record<string, string>) {
  const line = command.replace('http://127.0.0.1:8787', origin).replace(/^curl /, 'curl -sS -w "\\n%{http_code}" ')
  const env = { PATH: process.env.PATH, API_KEY: apiKey, ...variables } as unknown as NodeJS.ProcessEnv
  const { stdout } = await promisify(execFile)('sh', ['-c', line], { env, timeout: 20_000 })
  const [, text = '', status] = /^(.*)\n(\d+)$/s.exec(stdout) ?? []
  return { status: Number(status), json: text && JSON.parse(text) }
}

/** Fetches tokens without a pause, by several connections, with the secret that it has at the time. */
function startClient(clientId: string, first: string) {
  const client = { secret: first }
  const fetched: { secret: string; status: number }[] = []
  let isOver = false
  const loops = Array.from({ length: CLIENTS }, async () => {
    while (!isOver) {
      const { secret } = client
      const { status } = await requestToken(clientId, secret)
      fetched.push({ secret, status })
    }
  })
  return {
    client,
    fetched,
    /** Until as many tokens again as a stage asks for were fetched with this secret. */
    async fetchMore(secret: string) {
      const fetchedWith = () => fetched.filter((token) => token.secret === secret).length
      for (const before = fetchedWith(); fetchedWith() < before + AT_LEAST; ) {
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    },
    async stop() {
      isOver = true
      await Promise.all(loops)
    },
  }
}

function requestToken(clientId: string, secret: string) {
  return fetch(`${origin}/oauth2/token`, {
    method: 'POST',
    headers: { Authorization: `Basic ${btoa(`${clientId}:${secret}`)}` },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  })
}

async function newApplication() {
  const body = { application_type: 'm2m', name: 'Nightly export', organization_id: 'org_1' }
  const { id = '', client_id: clientId = '' } = await manage('POST', '/applications', body)
  const old = (await manage('POST', `/applications/${id}/client_secrets`, {})) as unknown as Secret
  return { id, clientId, old }
}

test.each([
  ['revoking the old secret', REVOKE, 204],
  ['letting it expire at once', EXPIRE, 200],
])(
  'a secret is rotated, and the grace ended early by %s, with no request of the client refused',
  async (_, end, success) => {
    const { id, clientId, old } = await newApplication()
    const variables = { APPLICATION_ID: id, OLD_SECRET_ID: old.id }
    const { client, fetched, fetchMore, stop } = startClient(clientId, old.secret)
    await fetchMore(old.secret)

    const rotated = await run(ROTATE, variables)
    expect(rotated.status).toBe(201)
    const fresh: Secret = rotated.json
    await fetchMore(old.secret)

    client.secret = fresh.secret
    await fetchMore(fresh.secret)
    const listed = await run(WATCH, variables)
    expect(listed.json).toMatchObject([
      { id: old.id, last_used_at: expect.any(String), expires_at: expect.any(String) },
      { id: fresh.id, last_used_at: expect.any(String) },
    ])

    const IN_A_SECOND = new Date(Date.now() + 1000).toISOString()
    expect((await run(end, { ...variables, IN_A_SECOND })).status).toBe(success)
    await fetchMore(fresh.secret)
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, Date.parse(IN_A_SECOND) - Date.now())))
    expect((await requestToken(clientId, old.secret)).status).toBe(401)
    await fetchMore(fresh.secret)
    await stop()

    expect(fetched.filter(({ status }) => status !== 200)).toEqual([])
    expect(fetched.length).toBeGreaterThanOrEqual(5 * AT_LEAST)
  },
)

test('a rotation is taken back within the grace, with no request of the client refused', async () => {
  const { id, clientId, old } = await newApplication()
  const variables = { APPLICATION_ID: id, OLD_SECRET_ID: old.id }
  const { fetched, fetchMore, stop } = startClient(clientId, old.secret)
  await run(ROTATE, variables)
  await fetchMore(old.secret)
  expect(await run(KEEP, variables)).toMatchObject({ status: 200, json: { id: old.id } })
  const secrets = (await run(WATCH, variables)).json
  expect(secrets).toHaveLength(2)
  for (const secret of secrets) expect(secret).not.toHaveProperty('expires_at')
  await fetchMore(old.secret)
  await stop()
  expect(fetched.filter(({ status }) => status !== 200)).toEqual([])
})
