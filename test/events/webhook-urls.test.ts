import { beforeEach, describe, expect, test } from 'vitest'
import { newWebhookUrlProblem, webhookUrlProblem } from '../../src/contract/webhooks.ts'
import { issueCredential } from '../../src/credential/credential.ts'
import { call, m2mApplication, newApiKey } from '../api.ts'
import { deliveries, listenToWebhooks, newReceiver, runSchedule, setClock } from './receivers.ts'

listenToWebhooks()

/** CWE-918: a webhook must not reach into a network that its owner cannot. */

const GOOD = [
  'https://example.com',
  'https://example.com/',
  'https://hooks.example.com:8443/path?query=1',
  'HTTPS://EXAMPLE.COM/',
  'https://xn--bcher-kva.example/',
  'https://bücher.example/',
  'https://example.com./',
  'https://1password.com/',
  'https://internal.example.com/',
  'https://notlocal.com/',
  'https://a.b.c.d.example.com/#fragment',
]

const NOT_HTTPS = [
  'http://example.com/',
  'ftp://example.com/',
  'ws://example.com/',
  'file:///etc/passwd',
  'data:,x',
].concat(['javascript:alert(1)', 'mailto:a@example.com', 'blob:https://example.com/x'])

const NOT_URLS = [
  '',
  'example.com',
  '//example.com/',
  '/hook',
  'https://',
  'https:// example.com/',
  'https://a b.com/',
].concat([
  'https://[::1/',
  'https://1.2.3.256/',
  'https://1.2.3.4.5/',
  'https://example.com:99999/',
  'https://example.0x7f/',
])

/** 127.0.0.1, 169.254.169.254 and ::1, as browsers and resolvers have been known to take them. */
const ADDRESSES = [
  'https://127.0.0.1/',
  'https://127.0.0.1./',
  'https://127.1/',
  'https://2130706433/',
  'https://0x7f000001/',
  'https://0x7f.0.0.1/',
  'https://0177.0.0.1/',
  'https://017700000001/',
  'https://0/',
  'https://１２７.０.０.１/',
  'https://127。0。0。1/',
  'https://%31%32%37.0.0.1/',
  'https://169.254.169.254/latest/meta-data/',
  'https://10.0.0.1:8443/',
  'https://8.8.8.8/',
  'https://[::1]/',
  'https://[::]/',
  'https://[0:0:0:0:0:0:0:1]/',
  'https://[::ffff:127.0.0.1]/',
  'https://[::ffff:7f00:1]/',
  'https://[64:ff9b::7f00:1]/',
  'https://[fe80::1]/',
  'https://[2606:4700:4700::1111]/',
]

const THIS_NETWORK = [
  'https://localhost/',
  'https://LOCALHOST/',
  'https://localhost./',
  'https://localhost../',
  'https://ｌｏｃａｌｈｏｓｔ/',
  'https://%6cocalhost/',
  'https://localhost:8443/',
  'https://app.localhost/',
  'https://app.localhost./',
  'https://intranet/',
  'https://intranet./',
  'https://metadata/',
  'https://metadata.google.internal/computeMetadata/v1/',
  'https://printer.local/',
  'https://nas.home.arpa./',
  'https://host.localdomain/',
]

const CREDENTIALS = [
  'https://user@example.com/',
  'https://user:password@example.com/',
  'https://:password@example.com/',
]

describe('a webhook URL in production', () => {
  test.each(GOOD)('%s is accepted', (url) => {
    expect(webhookUrlProblem(url, false)).toBeNull()
  })

  test.each([
    ...NOT_HTTPS.map((url) => [url, 'is not https']),
    ...NOT_URLS.map((url) => [url, 'is not a URL']),
    ...ADDRESSES.map((url) => [url, 'is an IP address']),
    ...THIS_NETWORK.map((url) => [url, 'is a name of this machine or network']),
    ...CREDENTIALS.map((url) => [url, 'has a user name or a password in it']),
  ])('%s is refused, because it %s', (url = '', problem = '') => {
    expect(webhookUrlProblem(url, false)).toBe(problem)
  })
})

test('a URL with a credential is refused for a new endpoint', async () => {
  const { plaintext } = await issueCredential('cs', '0')
  for (const isLocal of [true, false]) {
    expect(newWebhookUrlProblem(`https://example.com/${plaintext}`, isLocal)).toBe('has a credential in it')
    expect(newWebhookUrlProblem(`https://example.com/${plaintext.slice(1)}x`, isLocal)).toBeNull()
    expect(newWebhookUrlProblem('https://localhost:1/?', isLocal)).toBe(
      webhookUrlProblem('https://localhost:1/?', isLocal),
    )
  }
})

describe('a webhook URL in development', () => {
  test.each([...GOOD, ...ADDRESSES, ...THIS_NETWORK, 'http://localhost:3000/hook', 'http://127.0.0.1:3000/'])(
    '%s is accepted',
    (url) => {
      expect(webhookUrlProblem(url, true)).toBeNull()
    },
  )

  test.each([
    ...NOT_URLS,
    ...CREDENTIALS,
    'ftp://example.com/',
    'file:///etc/passwd',
    'http://user:password@localhost/',
  ])('%s is refused', (url) => {
    expect(webhookUrlProblem(url, true)).not.toBeNull()
  })
})

describe('a stored webhook URL', () => {
  let key: Awaited<ReturnType<typeof newApiKey>>
  beforeEach(async () => {
    key = await newApiKey()
  })
  const create = (bindings: Partial<Env> = {}) =>
    call(key.apiKey, 'POST', '/connect/applications', { body: m2mApplication, bindings })

  test.each([
    ['http://example.com/', 'is not https'],
    ['https://127.1/', 'is an IP address'],
    ['https://localhost/', 'is a name of this machine or network'],
    ['https://user:password@example.com/', 'has a user name or a password in it'],
  ])('no webhook is sent to the stored URL %s, neither right after the change nor later', async (url, problem) => {
    const receiver = await newReceiver({ ...key, url })
    expect((await create()).status).toBe(201)
    setClock(Date.now() + 60_000)
    await runSchedule()
    expect(receiver.arrivals).toEqual([])
    const outcome = { state: 'pending', attempts: 2, last_outcome: `not sent: the URL ${problem}` }
    expect(await deliveries(receiver)).toMatchObject([outcome])
  })

  test('with WEBHOOKS_TO_LOCALHOST, webhooks are also sent to URLs on localhost', async () => {
    const receiver = await newReceiver({ ...key, url: 'http://localhost:3000/hook' })
    await create({ WEBHOOKS_TO_LOCALHOST: true })
    expect(receiver.arrivals).toHaveLength(1)
    await create()
    setClock(Date.now() + 60_000)
    await runSchedule({ WEBHOOKS_TO_LOCALHOST: true })
    expect(receiver.arrivals).toHaveLength(2)
  })
})

test('a webhook URL of more than 2,048 characters is refused without matching patterns (CWE-1333)', () => {
  expect(webhookUrlProblem(`https://example.com/${'x'.repeat(2028)}`, false)).toBeNull()
  expect(webhookUrlProblem(`https://${'.'.repeat(60_000)}x`, false)).toBe('is longer than 2048 characters')
})
