import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { version } from '../package.json'
import { send } from './api.ts'
import { advance, stopClock } from './clock.ts'
import { deliveries, listenToWebhooks, newReceiver, runSchedule } from './events/receivers.ts'
import { withBatch } from './faults/wrapped.ts'
import { requestToken } from './oauth/client.ts'
import {
  answer,
  countedRegions,
  databaseIn,
  newTenant,
  regionBindings,
  requestAs,
  sessionOf,
  type Tenant,
} from './regions.ts'
import { secretsOf } from './requests.ts'

listenToWebhooks()

/** Two regions in one Worker, of which one fails: the other goes on, and each is reported by itself. */

let here: Tenant
let there: Tenant

beforeAll(async () => {
  here = await newTenant('0')
  there = await newTenant('1')
})

const OVERLOADED = 'D1_ERROR: D1 DB is overloaded. Too many requests queued.'
const broken = (digit: '0' | '1') => withBatch(databaseIn(digit), () => Promise.reject(new Error(OVERLOADED)))
const ready = (bindings: Partial<Env>) => send(new Request('https://oncekey.test/readyz'), bindings)

describe('GET /readyz', () => {
  test('/readyz has the state of each region, and makes one D1 request to each region in five seconds', async () => {
    stopClock()
    const { bindings, trips } = countedRegions(2)
    for (let i = 0; i < 3; i++) {
      expect(await ready(bindings)).toMatchObject({
        status: 200,
        json: {
          status: 'ok',
          version,
          regions: [
            { region: '0', binding: 'DB', status: 'ok' },
            { region: '1', binding: 'DB_1', status: 'ok' },
          ],
        },
      })
    }
    expect(trips()).toEqual({ '0': 1, '1': 1 })
    advance(5_000)
    await ready(bindings)
    expect(trips()).toEqual({ '0': 2, '1': 2 })
    vi.useRealTimers()
  })

  test.each([
    ['0', ['unavailable', 'ok'], 'Region 0 (DB): The database did not respond in time.'],
    ['1', ['ok', 'unavailable'], 'Region 1 (DB_1): The database did not respond in time.'],
  ] as const)(
    '/readyz returns 503 while region %s fails, and shows that the other region is ready',
    async (digit, states, words) => {
      const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
      const { status, json, headers } = await ready(regionBindings(2, { [digit]: broken(digit) }))
      expect([status, json.code, headers.get('Retry-After')]).toEqual([503, 'service_unavailable', '1'])
      expect(json.message).toContain(words)
      expect(json.regions.map((region: { status: string }) => region.status)).toEqual(states)
      expect(json.regions[digit].message).toContain('The database did not respond in time.')
      expect(JSON.stringify(logged.mock.calls)).toContain(OVERLOADED)
      logged.mockRestore()
    },
  )

  test('/readyz returns 503 if a region is not migrated, and names the region and the remedy', async () => {
    const behind = withBatch(env.DB_1, (real) => real([env.DB_1.prepare('SELECT 1 WHERE false')]))
    const { status, json, headers } = await ready(regionBindings(2, { '1': behind }))
    expect([status, headers.get('Retry-After')]).toEqual([503, '60'])
    expect(json.message).toMatch(/^Region 1 \(DB_1\): .*`npm run migrate`/)
  })

  test('/readyz with one region has no list of regions', async () => {
    expect((await ready({})).json).not.toHaveProperty('regions')
    const { json } = await ready({ DB: broken('0') })
    expect(json).not.toHaveProperty('regions')
    expect(json.message).toMatch(/^The database did not respond/)
  })
})

describe('a region that fails', () => {
  const down = () => regionBindings(2, { '1': broken('1') })

  test('while a region fails, its calls, token requests and pages get 503, and those of the other region succeed', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => {})
    const bindings = down()
    for (const [tenant, statuses] of [
      [here, [201, 200, 200]],
      [there, [503, 503, 503]],
    ] as const) {
      const created = await tenant.send('POST', secretsOf(tenant.applicationId), { bindings })
      const token = await requestToken({ ...tenant, audience: '' }, {}, { bindings })
      const page = await answer(await requestAs(tenant, 'GET /dashboard'), bindings)
      expect([created.status, token.status, page.status]).toEqual(statuses)
    }
    vi.restoreAllMocks()
  })

  test('while a region fails, the scheduled job still cleans up the other region and delivers its webhooks, and then throws an error', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => {})
    const logged = vi.spyOn(console, 'log')
    const receiver = await newReceiver({ environmentId: here.environmentId })
    await env.DB.prepare('UPDATE webhook_endpoints SET cursor = 0 WHERE id = ?').bind(receiver.id).run()
    const past = Date.now() - 1_000
    await env.DB.prepare('UPDATE client_secrets SET expires_at = ? WHERE id = ?').bind(past, here.secretId).run()
    await expect(runSchedule(down())).rejects.toThrow(OVERLOADED)
    expect(receiver.arrivals.length).toBeGreaterThan(2)
    expect((await deliveries(receiver)).every(({ state }) => state === 'delivered')).toBe(true)
    expect(logged.mock.calls).toContainEqual([
      expect.objectContaining({ message: 'cleanup', region: '0', expiries_recorded: 1 }),
    ])
    vi.restoreAllMocks()
  })
})

test('the scheduled job does cleanup and delivers webhooks in every region', async () => {
  const logged = vi.spyOn(console, 'log')
  const { bindings, trips } = countedRegions(2)
  await runSchedule(bindings)
  const cleaned = logged.mock.calls.filter(([entry]) => entry?.message === 'cleanup').map(([{ region }]) => region)
  expect(cleaned.sort()).toEqual(['0', '1'])
  expect(trips()).toEqual({ '0': 2, '1': 2 })
  logged.mockRestore()
})

test('a webhook endpoint gets the events of its region right after the change', async () => {
  const receivers = [
    await newReceiver({ environmentId: here.environmentId }),
    await newReceiver({ environmentId: there.environmentId, region: '1' }),
  ]
  const { json } = await there.send('POST', secretsOf(there.applicationId))
  expect(receivers.map(({ arrivals }) => arrivals.map(({ event }) => event.data.id))).toEqual([[], [json.id]])
  await here.send('DELETE', secretsOf(here.applicationId))
  expect(receivers.map(({ arrivals }) => arrivals.length)).toEqual([1, 1])
})

describe('the dashboard', () => {
  test('the dashboard shows the region of the environment if there are several regions', async () => {
    const page = async (tenant: Tenant, count: number) =>
      (await answer(await requestAs(tenant, 'GET /dashboard'), regionBindings(count))).text
    expect(await page(there, 2)).toContain('Region 1 (DB_1)')
    expect(await page(here, 2)).toContain('Region 0 (DB)')
    expect(await page(here, 1)).not.toContain('Region')
  })

  test('a sign-in ends the earlier session of the browser, even if the earlier session is in another region', async () => {
    const session = await sessionOf(there)
    const open = async () => {
      const headers = { Cookie: `__Host-session=${session}` }
      return (await answer(new Request('https://oncekey.test/dashboard', { headers }), regionBindings(2))).status
    }
    expect(await open()).toBe(200)
    const form = await requestAs(here, 'POST /dashboard/sign-in')
    form.headers.set('Cookie', `__Host-session=${session}`)
    expect((await answer(form, regionBindings(2))).status).toBe(303)
    expect(await open()).toBe(303)
    const { results } = await databaseIn('1')
      .prepare(`SELECT id, session_id FROM events WHERE environment_id = ? AND type = 'session.revoked'`)
      .bind(there.environmentId)
      .all()
    expect(results).toEqual([{ id: expect.stringMatching(/^event_/), session_id: expect.any(String) }])
  })

  test('a sign-in succeeds although the region of the earlier session fails', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {})
    const session = await sessionOf(there)
    const form = await requestAs(here, 'POST /dashboard/sign-in')
    form.headers.set('Cookie', `__Host-session=${session}`)
    expect((await answer(form, regionBindings(2, { '1': broken('1') }))).headers.get('Set-Cookie')).toContain(
      'session_0',
    )
    expect(log.mock.calls).toContainEqual([
      { message: 'session not ended', request_id: expect.any(String), error: expect.stringContaining(OVERLOADED) },
    ])
    vi.restoreAllMocks()
  })
})
