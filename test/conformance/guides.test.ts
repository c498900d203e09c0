import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { newApiKey } from '../operator.ts'
import { ORGANIZATION } from '../requests.ts'
import { serve } from '../served.ts'
import { workosAt } from './workos.ts'

/** The guides' commands and programs, as they are printed, except for the address. Other files run those of rotation and webhooks. */
const root = resolve(import.meta.dirname, '../..')
const served = await serve({ tokens: 'ES256' })
const [origin] = served.origins
const { apiKey } = await newApiKey(served.database)
const { connect } = workosAt(origin, apiKey, served)

const readGuide = (name: string) => readFile(`${root}/src/reference/guides/${name}.md`, 'utf8')

/** The code blocks of a guide, in one language. */
async function codeOf(name: string, language: string): Promise<string[]> {
  const blocks = (await readGuide(name)).matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))
  return [...blocks].map(([, code = '']) =>
    code.replaceAll('http://127.0.0.1:8787', origin).replaceAll('port: 8787', `port: ${new URL(origin).port}`),
  )
}

async function run(command: string, args: readonly string[], variables: Record<string, string>): Promise<string> {
  const env = { PATH: process.env.PATH, API_KEY: apiKey, ...variables } as unknown as NodeJS.ProcessEnv
  return (await promisify(execFile)(command, args, { cwd: root, env, timeout: 30_000 })).stdout
}
const shell = (line: string, variables = {}) => run('sh', ['-c', line.replaceAll('curl ', 'curl -sS ')], variables)
const node = (code: string) => run(process.execPath, ['--input-type=module', '--eval', code], {})

const newApplication = (name = 'Nightly') => connect.createM2MApplication(name, ORGANIZATION)

test('the commands of the quickstart guide lead from an API key to an active token', async () => {
  const [variables = '', create = '', token = '', introspect = ''] = await codeOf('quickstart', 'sh')
  const { id, clientId } = await newApplication()
  const values: Record<string, string> = { API_KEY: apiKey, APPLICATION_ID: id, CLIENT_ID: clientId }
  expect([...variables.matchAll(/export (\w+)=/g)].map(([, name]) => name)).toEqual(Object.keys(values))
  const { secret } = JSON.parse(await shell(create, values))
  const { access_token } = JSON.parse(await shell(token, { ...values, CLIENT_SECRET: secret }))
  const all = { ...values, CLIENT_SECRET: secret, ACCESS_TOKEN: access_token }
  expect(JSON.parse(await shell(introspect, all))).toMatchObject({ active: true })
})

describe('the guide to pagination', () => {
  test('the guide’s command and program read every application once', async () => {
    // More than the first page of the SDK.
    const names = Array.from({ length: 12 }, (_, i) => `Page ${i}.`)
    for (const name of names) await newApplication(name)
    const [command = ''] = await codeOf('pagination', 'sh')
    const pages = await shell(command.replace('limit=100', 'limit=2'))
    const [program = ''] = await codeOf('pagination', 'js')
    const printed = await node(program)
    for (const output of [pages, printed]) {
      expect([...output.matchAll(/Page \d+\./g)].map(([name]) => name)).toEqual(names.toReversed())
    }
  })
})

test('the command of the guide to retries creates one secret, although it runs twice with the same Idempotency-Key', async () => {
  const [command = ''] = await codeOf('retries', 'sh')
  const { id } = await newApplication()
  const once = command.replace('$(uuidgen)', crypto.randomUUID())
  const secrets = [await shell(once, { APPLICATION_ID: id }), await shell(once, { APPLICATION_ID: id })]
  expect(secrets[1]).toBe(secrets[0])
  expect(await connect.listApplicationClientSecrets({ id })).toHaveLength(1)
})

test('with the options in the guide, the Node SDK reaches the deployment', async () => {
  const [setup = ''] = await codeOf('sdks', 'js')
  const { id } = await newApplication()
  expect(await node(`${setup}\nconsole.log((await workos.connect.getApplication({ id: '${id}' })).id)`)).toBe(`${id}\n`)
})
