import * as v from 'valibot'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { withDatabase } from '../../src/cli/target.ts'
import { Event } from '../../src/contract/events.ts'
import { recogniseCredential } from '../../src/credential/credential.ts'
import { status, type WebhookReceiver, webhookReceiver } from '../conformance/webhook-receiver.ts'
import { workosAt } from '../conformance/workos.ts'
import { newFolder, run, startDev } from './processes.ts'

/** `npm run webhook`, beside a running `dev` that sends. */

// Each command is a process that loads wrangler: seconds of work on a busy machine.
vi.setConfig({ testTimeout: 180_000 })

const folder = await newFolder()
const here = ['--persist-to', folder]
const workos = workosAt('http://localhost', 'sk', { fetch })
let url: string
let apiKey: string

beforeAll(async () => {
  const dev = await startDev(['--port', '0', ...here, '--json'], '\n')
  ;({ url, api_key: apiKey } = JSON.parse(dev.stdout()))
  return async () => {
    await dev.end('SIGTERM')
  }
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

/** Verifies the newest arrival, and gives its event. */
async function verified({ arrivals }: WebhookReceiver, secret: string) {
  const { headers, body } = arrivals.at(-1) as WebhookReceiver['arrivals'][0]
  const sigHeader = headers['workos-signature'] as string
  await workos.webhooks.constructEvent({ payload: JSON.parse(body), sigHeader, secret })
  return JSON.parse(body)
}

test('a webhook is made, sent to by dev, listed, and deleted', async () => {
  const receiver = await webhookReceiver()
  const { id, secret, ...rest } = await create(receiver, '--events', 'connect_application.created')
  expect(rest).toEqual({})
  expect(id).toMatch(/^we_\w{26}$/)
  expect(recogniseCredential(secret)).toEqual({ prefix: 'whsec', region: '0' })
  expect((await newApplication()).status).toBe(201)
  await vi.waitFor(() => expect(receiver.arrivals).toHaveLength(1), { timeout: 20_000 })
  expect(await verified(receiver, secret)).toMatchObject({ event: 'connect_application.created' })
  const endpoint = {
    id,
    environment: 'development',
    url: receiver.url,
    events: ['connect_application.created'],
    created_at: expect.any(String),
    deliveries: { pending: 0, delivered: 1, dead: 0 },
  }
  expect(await json('list', '--environment', 'development')).toStrictEqual([endpoint])
  expect(await json('delete', id)).toEqual({ id })
  expect((await newApplication()).status).toBe(201)
  const { code, stderr } = await run('webhook', ['test', id, ...here])
  expect(stderr).toContain(`There is no webhook ${id}. See: npm run webhook -- list`)
  expect(code).toBe(1)
  expect(receiver.arrivals).toHaveLength(1)
})

test('without --json, the secret alone is on stdout; a test that succeeds says so', async () => {
  const receiver = await webhookReceiver()
  const words = ['create', '--environment', 'development', '--url', receiver.url]
  const { code, stdout, stderr } = await run('webhook', [...words, ...here])
  expect(stdout).toMatch(/^whsec_0\w{49}\n$/)
  const [, id = ''] = /npm run webhook -- test (we_\w{26})$/m.exec(stderr) ?? []
  expect(stderr).not.toContain(stdout.trim())
  expect(code).toBe(0)

  const tested = await run('webhook', ['test', id, ...here])
  expect(tested).toMatchObject({ code: 0, stdout: 'The receiver answered with 200.\n' })
  const sample = await verified(receiver, stdout.trim())
  expect(v.safeParse(Event, sample).issues).toBeUndefined()
  expect(sample.data.name).toBe('Sample of npm run webhook -- test')

  const [listed, revived] = await Promise.all(
    ['list', 'revive'].map((word) => run('webhook', [word, ...(word === 'revive' ? [id] : []), ...here])),
  )
  expect(listed?.stdout).toMatch(/^ENVIRONMENT +URL +EVENTS +PENDING +DELIVERED +DEAD +ID$/m)
  expect(listed?.stdout).toMatch(new RegExp(`^development +${receiver.url} +all +0 +0 +0 +${id}$`, 'm'))
  expect(listed?.stdout).not.toContain(stdout.trim())
  expect(revived).toMatchObject({ code: 0, stdout: 'None is dead.\n' })
})

test('a test that the receiver fails: a sentence, and exit code 1', async () => {
  const elsewhere = await webhookReceiver()
  const answers = [status(500), status(307, { Location: elsewhere.url }), () => {}]
  const receiver = await webhookReceiver((response) => answers.shift()?.(response))
  const { id } = await create(receiver)
  const fail = async () => {
    const { code, stdout, stderr } = await run('webhook', ['test', id, ...here, '--json'])
    expect(stderr).not.toContain('    at ')
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    return stderr.trimEnd().split('\n').at(-1)
  }
  const failures = await Promise.all([fail(), fail(), fail()])
  expect(failures.sort()).toEqual([
    'The receiver answered with 307, and should with 2xx.',
    'The receiver answered with 500, and should with 2xx.',
    'The receiver did not answer: nothing within 10 seconds.',
  ])
  expect(elsewhere.arrivals).toEqual([])
  await receiver.stop()
  expect(await fail()).toMatch(/^The receiver did not answer: connect ECONNREFUSED 127\.0\.0\.1:\d+\.$/)
})

test('what is dead is revived', async () => {
  const { id } = await create(await webhookReceiver(status(500)))
  expect((await newApplication()).status).toBe(201)
  await withDatabase({ 'persist-to': folder }, async ({ binding }) => {
    const end = `UPDATE webhook_deliveries SET state = 'dead' WHERE endpoint_id = '${id}' AND last_outcome = '500' RETURNING 1`
    await vi.waitFor(
      async () => {
        const [ended] = await binding.batch([binding.prepare(end)])
        expect(ended?.results).toHaveLength(1)
      },
      { timeout: 20_000 },
    )
  })
  expect(await json('revive', id)).toEqual({ id, revived: 1 })
  const listed = (await json('list')).find((endpoint: { id: string }) => endpoint.id === id)
  expect(listed.deliveries).toEqual({ pending: 1, delivered: 0, dead: 0 })
})

describe.concurrent('what is not there: a sentence that tells where to look, and exit code 1', () => {
  test.each([
    [['delete', 'we_nobody'], 'There is no webhook we_nobody. See: npm run webhook -- list'],
    [['create', '--environment', 'nowhere', '--url', 'https://example.com'], 'There is no environment nowhere.'],
  ])('%j', async (args, words) => {
    const { code, stdout, stderr } = await run('webhook', [...args, ...here])
    expect(stderr).toContain(words)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
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
