import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { newApiKey } from '../operator.ts'
import { m2mApplication, secretsOf } from '../requests.ts'
import { serve } from '../served.ts'
import { size } from '../sizes.ts'
import { managementOf } from './management.ts'

/** The guide "Rotate without an outage", word for word, while a client fetches tokens. */
const section = await readFile(`${import.meta.dirname}/../../src/reference/guides/rotation.md`, 'utf8')
const [ROTATE = '', WATCH = '', REVOKE = '', KEEP = ''] = section.match(/^curl (.*\\\n)*.*$/gm) ?? []
const EXPIRE = KEEP.replace(`'{"expires_at":null}'`, String.raw`"{\"expires_at\":\"$SOON\"}"`)

const CLIENTS = 4
/** Tokens that are fetched at each stage before the next begins. */
const AT_LEAST = size(10, 40)
const served = await serve({ tokens: 'ES256', rateLimits: false })
const { fetch } = served
const [origin] = served.origins
const { apiKey } = await newApiKey(served.database)
const manage = managementOf(served, apiKey)

interface Secret {
  readonly id: string
  readonly secret: string
}

async function run(command: string, variables: Record<string, string>) {
  const line = command.replace('http://127.0.0.1:8787', origin).replace(/^curl /, 'curl -sS -w "\\n%{http_code}" ')
  const env = { PATH: process.env.PATH, API_KEY: apiKey, ...variables } as unknown as NodeJS.ProcessEnv
  const { stdout } = await promisify(execFile)('sh', ['-c', line], { env, timeout: 20_000 })
  const [, text = '', status] = /^(.*)\n(\d+)$/s.exec(stdout) ?? []
  return { status: Number(status), json: text && JSON.parse(text) }
}

/** Fetches tokens without a pause over several connections, with the secret that it has at the time. */
function startClient(clientId: string, first: string) {
  const client = { secret: first }
  const fetched: { secret: string; status: number }[] = []
  const waiting = new Set<() => void>()
  let isOver = false
  const loops = Array.from({ length: CLIENTS }, async () => {
    while (!isOver) {
      const { secret } = client
      const { status } = await requestToken(clientId, secret)
      fetched.push({ secret, status })
      for (const look of waiting) look()
    }
  })
  return {
    client,
    fetched,
    /** Waits until AT_LEAST more tokens have been fetched with this secret. */
    async fetchMore(secret: string) {
      const fetchedWith = () => fetched.filter((token) => token.secret === secret).length
      const before = fetchedWith()
      await new Promise<void>((resolve) => {
        const look = () => {
          if (fetchedWith() >= before + AT_LEAST && waiting.delete(look)) resolve()
        }
        waiting.add(look)
      })
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
  const { id, client_id: clientId } = (await manage('POST', '/connect/applications', { body: m2mApplication })).json
  const old: Secret = (await manage('POST', secretsOf(id))).json
  return { id, clientId, old }
}

test.each([
  ['revoking the old secret', REVOKE, 204],
  ['letting the old secret expire', EXPIRE, 200],
])(
  'no request of a client is refused while its secret is rotated and the grace period is ended early by %s',
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

    const soon = new Date(Date.now() + 60 * 60_000)
    expect((await run(end, { ...variables, SOON: soon.toISOString() })).status).toBe(success)
    await fetchMore(fresh.secret)
    // The hour passes.
    const passed = 'UPDATE client_secrets SET expires_at = ? WHERE id = ? AND expires_at = ?'
    await served.database.prepare(passed).bind(Date.now(), old.id, soon.getTime()).run()
    expect((await requestToken(clientId, old.secret)).status).toBe(401)
    await fetchMore(fresh.secret)
    await stop()

    expect(fetched.filter(({ status }) => status !== 200)).toEqual([])
    expect(fetched.length).toBeGreaterThanOrEqual(5 * AT_LEAST)
  },
)

test('no request of a client is refused while its secret is rotated and then kept', async () => {
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
