import * as v from 'valibot'
import { beforeAll, expect, test } from 'vitest'
import { sendSample } from '../../src/cli/webhook.ts'
import { Event } from '../../src/contract/events.ts'
import { recogniseCredential } from '../../src/credential/credential.ts'
import { status, webhookReceiver } from '../conformance/webhook-receiver.ts'
import { workosAt } from '../conformance/workos.ts'
import { newDatabase } from './databases.ts'
import { cli, type Surroundings } from './terminal.ts'

let database: D1Database

beforeAll(async () => {
  database = await newDatabase()
  await cli(['environment', 'create', '--name', 'development'], { database })
})

const webhook = (words: string[], surroundings: Surroundings = {}) =>
  cli(['webhook', ...words], { database, ...surroundings })
const create = (url: string, ...words: string[]) =>
  webhook(['create', '--environment', 'development', '--url', url, ...words])

test('a webhook endpoint can be created, listed and deleted', async () => {
  const events = ['--events', 'connect_application.created, connect_application.deleted']
  const { json } = await create('http://127.0.0.1:3000/hook', ...events, '--json')
  const { id, secret } = json
  expect(json).toEqual({ id: expect.stringMatching(/^we_\w{26}$/), secret: expect.any(String) })
  expect(recogniseCredential(secret)).toEqual({ prefix: 'whsec', region: '0' })
  const listed = await webhook(['list', '--environment', 'development', '--json'])
  expect(listed.json).toStrictEqual([
    {
      id,
      environment: 'development',
      url: 'http://127.0.0.1:3000/hook',
      events: ['connect_application.created', 'connect_application.deleted'],
      created_at: expect.any(String),
      paused_at: null,
      deliveries: { pending: 0, delivered: 0, dead: 0 },
    },
  ])
  const { stdout } = await webhook(['list'])
  expect(stdout).toMatch(/^ENVIRONMENT +URL +EVENTS +PENDING +DELIVERED +FAILED +ID$/m)
  expect(stdout).not.toContain(secret)
  expect((await webhook(['revive', id])).stdout).toBe('No failed deliveries.\n')
  expect((await webhook(['delete', id, '--json'])).json).toEqual({ id })
  expect((await webhook(['list'])).stdout).toBe('No webhook endpoints yet: npm run webhook -- create --help\n')
})

test('webhook list shows whether an endpoint is paused', async () => {
  const { id } = (await create('https://example.com/pause', '--json')).json
  const pausedAt = async () =>
    (await webhook(['list', '--json'])).json.find((endpoint: { id: string }) => endpoint.id === id).paused_at
  expect(await pausedAt()).toBeNull()
  expect((await webhook(['pause', id])).stdout).toBe(`Paused: ${id}.\n`)
  expect(await pausedAt()).toMatch(/Z$/)
  expect((await webhook(['resume', id, '--json'])).json).toEqual({ id })
  expect(await pausedAt()).toBeNull()
  await webhook(['delete', id])
})

test('webhook create prints only the signing secret on stdout, and the next step on stderr', async () => {
  const { stdout, stderr } = await create('https://example.com/hook')
  expect(stdout).toMatch(/^whsec_0\w{49}\n$/)
  expect(stderr).toMatch(/It is not shown again\. To send a sample event: npm run webhook -- test we_\w{26}$/m)
  expect(stderr).not.toContain(stdout.trim())
})

test('a new webhook endpoint is deleted if its signing secret cannot be shown', async () => {
  const before = (await webhook(['list', '--json'])).json
  const write = async () => {
    throw Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })
  }
  const words = ['create', '--environment', 'development', '--url', 'https://example.com/unseen']
  const { code, stderr } = await webhook(words, { write })
  expect(stderr).toMatch(
    /Webhook endpoint we_\w{26} could not be written to standard output \(EPIPE\)\. It was deleted, because its secret was not shown\.\n$/,
  )
  expect(code).toBe(1)
  const closed = await webhook(words, { hasReader: false })
  expect(closed.stderr).toContain('the signing secret would be lost. Nothing was changed.')
  expect((await webhook(['list', '--json'])).json).toEqual(before)
})

test('webhook test sends a valid event, whose signature the SDK accepts', async () => {
  const receiver = await webhookReceiver()
  const { json } = await create(receiver.url, '--json')
  expect((await webhook(['test', json.id])).stdout).toBe('The receiver answered 200.\n')
  const [{ headers, body } = { headers: {}, body: '' }] = receiver.arrivals
  const sigHeader = headers['workos-signature'] as string
  const { webhooks } = workosAt('http://localhost', 'sk', { fetch })
  await webhooks.constructEvent({ payload: JSON.parse(body), sigHeader, secret: json.secret })
  expect(v.safeParse(Event, JSON.parse(body)).issues).toBeUndefined()
  expect(JSON.parse(body).data.name).toBe('Sample of npm run webhook -- test')
})

test('webhook test ends with exit code 1 if the receiver fails, and does not follow a redirect', async () => {
  const elsewhere = await webhookReceiver()
  const receiver = await webhookReceiver(status(500))
  const { json } = await create(receiver.url, '--json')
  const fail = async () => {
    const { code, stdout, stderr } = await webhook(['test', json.id, '--json'])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    return stderr.trimEnd().split('\n').at(-1)
  }
  expect(await fail()).toBe('The receiver answered 500. The Worker would retry until the answer is 2xx.')
  receiver.answer = status(307, { Location: elsewhere.url })
  expect(await fail()).toContain('The receiver answered 307.')
  expect(elsewhere.arrivals).toEqual([])
  receiver.answer = () => {}
  const silence = sendSample({ url: receiver.url, secret: json.secret }, 50)
  await expect(silence).rejects.toThrow('The receiver did not answer: nothing within 0.05 seconds.')
  await receiver.stop()
  expect(await fail()).toMatch(/^The receiver did not answer: connect ECONNREFUSED 127\.0\.0\.1:\d+\.$/)
})

test('webhook revive makes failed deliveries pending again', async () => {
  const { json } = await create('https://example.com/dead', '--json')
  const now = Date.now()
  await database.batch([
    database.prepare('PRAGMA defer_foreign_keys = on'),
    database
      .prepare(
        `INSERT INTO webhook_deliveries (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at, created_at)
          SELECT id, 'event_1', environment_id, 'dead', 11, ${now}, ${now} FROM webhook_endpoints WHERE id = ?1`,
      )
      .bind(json.id),
  ])
  expect((await webhook(['revive', json.id, '--json'])).json).toEqual({ id: json.id, revived: 1 })
  expect((await webhook(['revive', json.id])).stdout).toBe('No failed deliveries.\n')
})

test.each(['test', 'delete', 'revive', 'pause', 'resume'])(
  'webhook %s of an unknown endpoint names the command that lists the endpoints',
  async (word) => {
    const { code, stdout, stderr } = await webhook([word, 'we_unknown'])
    expect(stderr).toContain(
      'Webhook endpoint we_unknown was not found. Nothing was changed. See: npm run webhook -- list',
    )
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  },
)
