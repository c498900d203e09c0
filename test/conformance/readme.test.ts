import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { recogniseCredential } from '../../src/credential/credential.ts'
import { newApiKey } from '../operator.ts'
import { serve } from '../served.ts'
import { workosAt } from './workos.ts'

/** Runs the programs of README and of the guides as they are printed, except for addresses and file names. */
const root = resolve(import.meta.dirname, '../..')
const readme = await readFile(join(root, 'README.md'), 'utf8')
const guides = join(root, 'src/reference/guides')
const texts = [readme, ...(await readdir(guides)).map((name) => readFileSync(join(guides, name), 'utf8'))]
const programs = texts.flatMap((text) => [...text.matchAll(/^```js\n(.*?)^```/gms)].map(([, code = '']) => code))

const served = await serve({ tokens: 'RS256' })
const [origin] = served.origins
const { apiKey } = await newApiKey(served.database)
const { connect, events } = workosAt(origin, apiKey, served)
const directory = await mkdtemp(join(tmpdir(), 'oncekey-readme-'))
afterAll(() => rm(directory, { recursive: true }))

/** Runs the program that contains `marker`, between `before` and `after`, and returns its output. */
async function run(marker: string, { before = '', after = '', variables = {} }: Run = {}): Promise<string> {
  const program = programs.find((code) => code.includes(marker)) ?? ''
  const code = program
    .replaceAll('port: 8787', `port: ${new URL(origin).port}`)
    .replaceAll('https://secrets.example.com', origin)
    .replace(
      'process.env.CLIENT_SECRET)',
      'process.env.CLIENT_SECRET, undefined, { execute: [openid.allowInsecureRequests] })',
    )
    .replaceAll(`'cursor'`, JSON.stringify(join(directory, 'cursor')))
  const args = ['--input-type=module', '--eval', [before, code, after].join('\n')]
  const env = { PATH: process.env.PATH, API_KEY: apiKey, ...variables } as unknown as NodeJS.ProcessEnv
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, env, timeout: 30_000 })
  return stdout.trim()
}

interface Run {
  readonly before?: string
  readonly after?: string
  readonly variables?: Record<string, string>
}

async function newClient(scopes: string[]): Promise<{ CLIENT_ID: string; CLIENT_SECRET: string }> {
  const application = await connect.createM2MApplication('Nightly', 'org_01EHZNVPK3SFK441A1RGBFSHRT', undefined, scopes)
  const { secret } = await connect.createApplicationClientSecret({ id: application.id })
  return { CLIENT_ID: application.clientId, CLIENT_SECRET: secret }
}

test('the SDK program in README creates a secret', async () => {
  const secret = await run('createM2MApplication', { after: 'console.log(secret)' })
  expect(recogniseCredential(secret)).toMatchObject({ prefix: 'cs' })
})

test('the scanners’ pattern in README finds secrets and API keys in a text, but not inside a longer word', async () => {
  const { CLIENT_SECRET } = await newClient([])
  const [, pattern = ''] = /^```\n(\\b.*)\n```/m.exec(readme) ?? []
  const text = `secret=${CLIENT_SECRET}\n"${apiKey}" ${CLIENT_SECRET}x x${apiKey}`
  expect([...text.matchAll(new RegExp(pattern, 'g'))].map(([found]) => found)).toEqual([CLIENT_SECRET, apiKey])
})

describe('the resource server in README', () => {
  const verify = (token: string) => {
    const audience = JSON.parse(atob(token.split('.')[1] ?? '')).aud
    const before = `const token = process.env.TOKEN, ENVIRONMENT_CLIENT_ID = '${audience}'`
    return run('jwtVerify', { before, after: 'console.log(scopes)', variables: { TOKEN: token } })
  }

  test('the resource server accepts a token of the client', async () => {
    const variables = await newClient(['example:read'])
    const token = await run('clientCredentialsGrant', { after: 'console.log(access_token)', variables })
    expect(await verify(token)).toBe("[ 'example:read' ]")
  })

  test('the resource server refuses a token without scopes', async () => {
    const { CLIENT_ID, CLIENT_SECRET } = await newClient([])
    const fields = { grant_type: 'client_credentials', client_id: CLIENT_ID, client_secret: CLIENT_SECRET }
    const response = await served.fetch(`${origin}/oauth2/token`, { method: 'POST', body: new URLSearchParams(fields) })
    const { access_token } = (await response.json()) as { access_token: string }
    await expect(verify(access_token)).rejects.toThrow('insufficient_scope')
  })
})

describe('the export to a SIEM in the guide', () => {
  const exported = async () =>
    (await run('to the SIEM'))
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line).id as string)
  const kept = async () => (await events.listEvents({ events: [], limit: 100 })).data.map(({ id }) => id)

  test('the export to a SIEM continues after the last exported event, or with the oldest event if the last exported one was removed', async () => {
    await newClient([])
    expect(await exported()).toEqual(await kept())
    expect(await exported()).toEqual([])
    await writeFile(join(directory, 'cursor'), 'event_01KA3ZB7QX0D9S4G2A8Z6M3Y5T')
    expect(await exported()).toEqual(await kept())
    expect(await exported()).toEqual([])
  })
})
