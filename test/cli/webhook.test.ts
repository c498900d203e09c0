import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as v from 'valibot'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { recogniseCredential } from '../../src/credential/credential.ts'
import { Event } from '../../src/events/schemas.ts'
import { EVENT_TYPES } from '../../src/storage/events.ts'
import { status, type WebhookReceiver, webhookReceiver } from '../conformance/webhook-receiver.ts'
import { workosAt } from '../conformance/workos.ts'
import { newFolder, run, startDev } from './processes.ts'

/** `npm run webhook`, beside a running `dev` that sends. */

const folder = await newFolder()
const here = ['--persist-to', folder]
const workos = workosAt('http://localhost', 'sk', { fetch })
let url: string
let apiKey: string

beforeAll(async () => {
  const dev = await startDev(['--port', '0', ...here, '--json'], '\n')
  ;({ url, api_key: apiKey } = JSON.parse(dev.stdout()))
})

async function json(...args: string[]) {
  const { code, stdout, stderr } = await run('webhook', [...args, ...here, '--json'])
  expect(code, stderr).toBe(0)
  expect(stdout).toMatch(/^.+\n$/)
  return JSON.parse(stdout)
}
const create = (receiver: Pick<WebhookReceiver, 'url'>, ...args: string[]) =>
  json('create', '--environment', 'development', '--url', receiver.url, ...args)

const newApplication = () =>
  fetch(`${url}/connect/applications`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ name: 'Reports', application_type: 'm2m', organization_id: 'org_1' }),
  })

const countsOf = async (id: string) =>
  (await json('list')).find((endpoint: { id: string }) => endpoint.id === id)?.deliveries

/** Verifies the newest arrival, and gives its event. */
async function verified({ arrivals }: WebhookReceiver, secret: string) {
  const { headers, body } = arrivals.at(-1) as WebhookReceiver['arrivals'][0]
  const sigHeader = headers['workos-signature'] as string
  await workos.webhooks.constructEvent({ payload: JSON.parse(body), sigHeader, secret })
  return JSON.parse(body)
}

test('a webhook is made, tried out, listed, sent to by dev, and deleted', async () => {
  const receiver = await webhookReceiver()
  const { id, secret, ...rest } = await create(receiver, '--events', 'connect_application.created')
  expect(rest).toEqual({})
  expect(id).toMatch(/^we_\w{26}$/)
  expect(recogniseCredential(secret)).toEqual({ prefix: 'whsec', region: '0' })

  expect(await json('test', id)).toEqual({ id, status: 200 })
  const sample = await verified(receiver, secret)
  expect(v.safeParse(Event, sample).issues).toBeUndefined()
  expect(sample.data.name).toBe('Sample of npm run webhook -- test')

  const events = ['connect_application.created']
  const listed = { id, environment: 'development', url: receiver.url, events, created_at: expect.any(String) }
  const none = { pending: 0, delivered: 0, dead: 0 }
  expect(await json('list')).toContainEqual({ ...listed, deliveries: none })
  expect(await json('list', '--environment', 'development')).toContainEqual({ ...listed, deliveries: none })
  expect((await newApplication()).status).toBe(201)
  await vi.waitFor(() => expect(receiver.arrivals).toHaveLength(2), { timeout: 10_000 })
  expect(await verified(receiver, secret)).toMatchObject({ event: 'connect_application.created' })
  await vi.waitFor(async () => expect(await countsOf(id)).toEqual({ ...none, delivered: 1 }), { timeout: 20_000 })

  const table = await run('webhook', ['list', ...here])
  expect(table.stdout).toMatch(/^ENVIRONMENT +URL +EVENTS +PENDING +DELIVERED +DEAD +ID$/m)
  expect(table.stdout).toMatch(
    new RegExp(`^development +${receiver.url} +connect_application.created +0 +1 +0 +${id}$`, 'm'),
  )
  expect(table.stdout + JSON.stringify(await json('list'))).not.toContain(secret)

  expect(await json('delete', id)).toEqual({ id })
  expect(await json('delete', id)).toEqual({ id })
  expect(await countsOf(id)).toBeUndefined()
  expect((await newApplication()).status).toBe(201)
  const tested = await run('webhook', ['test', id, ...here])
  expect(tested).toMatchObject({ code: 1, stdout: '' })
  expect(tested.stderr).toContain(`There is no webhook ${id}. See: npm run webhook -- list`)
  expect(receiver.arrivals).toHaveLength(2)
})

test('without --json, the secret alone is on stdout', async () => {
  const receiver = await webhookReceiver()
  const words = ['create', '--environment', 'development', '--url', receiver.url]
  const { code, stdout, stderr } = await run('webhook', [...words, ...here])
  expect(stdout).toMatch(/^whsec_0\w{49}\n$/)
  const [, id = ''] = /npm run webhook -- test (we_\w{26})$/m.exec(stderr) ?? []
  expect(stderr).not.toContain(stdout.trim())
  expect(code).toBe(0)
  const tested = await run('webhook', ['test', id, ...here])
  expect(tested).toMatchObject({ code: 0, stdout: 'The receiver answered with 200.\n' })
  expect(await run('webhook', ['revive', id, ...here])).toMatchObject({ code: 0, stdout: 'None is dead.\n' })
  expect(await run('webhook', ['delete', id, ...here])).toMatchObject({ code: 0, stdout: `Deleted: ${id}.\n` })
})

describe('a test that the receiver fails: a sentence, and exit code 1', () => {
  test.each([
    ['500', status(500), 'The receiver answered with 500, and should with 2xx.'],
    ['redirects', status(307, { Location: 'https://example.com/' }), 'The receiver answered with 307'],
    ['hangs up', (response) => response.socket?.destroy(), 'The receiver did not answer: other side closed.'],
    ['is silent', () => {}, 'The receiver did not answer: nothing within 10 seconds.'],
  ] satisfies [string, WebhookReceiver['answer'], string][])('%s', async (_, answer, words) => {
    const { id } = await create(await webhookReceiver(answer), '--events', EVENT_TYPES.join(','))
    const { code, stdout, stderr } = await run('webhook', ['test', id, ...here, '--json'])
    expect(stderr).toContain(words)
    expect(stderr).not.toContain('    at ')
    expect(stdout).toBe('')
    expect(code).toBe(1)
  })

  test('is not there', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    const { id } = await create({ url: `http://127.0.0.1:${port}/` })
    const { code, stderr } = await run('webhook', ['test', id, ...here])
    expect(stderr).toContain(`The receiver did not answer: connect ECONNREFUSED 127.0.0.1:${port}.`)
    expect(code).toBe(1)
  })
})

describe.concurrent('what is not there: a sentence that tells where to look, and exit code 1', () => {
  test.each([
    [['test', 'we_nobody'], 'There is no webhook we_nobody. See: npm run webhook -- list'],
    [['delete', 'we_nobody'], 'There is no webhook we_nobody. See: npm run webhook -- list'],
    [['revive', 'we_nobody'], 'There is no webhook we_nobody. See: npm run webhook -- list'],
    [['list', '--environment', 'nowhere'], 'There is no environment nowhere. There is: development.'],
    [['create', '--environment', 'nowhere', '--url', 'https://example.com'], 'There is no environment nowhere.'],
  ])('%j', async (args, words) => {
    const { code, stdout, stderr } = await run('webhook', [...args, ...here])
    expect(stderr).toContain(words)
    expect(stdout).toBe('')
    expect(code).toBe(1)
  })
})

describe.concurrent('asked in the wrong words: a sentence, the usage, and exit code 2', () => {
  const made = ['create', '--environment', 'development']
  test.each([
    [[], 'Say what to do.'],
    [['send'], "There is no 'send' here."],
    [['test'], 'Name the webhook by its id.'],
    [['delete'], 'Name the webhook by its id.'],
    [['revive'], 'Name the webhook by its id.'],
    [['create', '--url', 'https://example.com'], '--environment is missing.'],
    [made, '--url is missing.'],
    [[...made, '--url', 'example.com'], '--url is not a URL. Give one like https://example.com/hook.'],
    [[...made, '--url', 'https://user:password@example.com'], '--url has a user name or a password in it.'],
    [[...made, '--url', 'ftp://example.com'], '--url is not https.'],
    [[...made, '--url', 'http://example.com', '--remote'], '--url is not https.'],
    [[...made, '--url', 'https://127.1', '--remote'], '--url is an IP address.'],
    [[...made, '--url', 'https://localhost', '--remote'], '--url is a name of this machine or network.'],
    [
      [...made, '--url', 'https://example.com', '--events', 'user.created'],
      "--events has 'user.created', which is not",
    ],
    [[...made, '--url', 'https://example.com', '--events', ''], "--events has '', which is not"],
    [['list', '--remote', '--persist-to', 'x'], '--remote and --persist-to name two databases'],
  ])('%j', async (args, words) => {
    const { code, stdout, stderr } = await run('webhook', args)
    expect(stderr).toContain(words)
    expect(stderr).toMatch(/^Usage: npm run webhook -- /m)
    expect(stdout).toBe('')
    expect(code).toBe(2)
  })

  test.each(['create', 'list', 'test', 'delete', 'revive'])(
    '%s --help tells its options, with exit code 0',
    async (word) => {
      const { code, stdout, stderr } = await run('webhook', [word, '--help'])
      for (const option of ['--remote', '--persist-to DIR', '--json']) expect(stdout).toContain(option)
      expect(stderr).toBe('')
      expect(code).toBe(0)
    },
  )
})
