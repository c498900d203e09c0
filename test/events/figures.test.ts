import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { call, m2mApplication, newApiKey } from '../api.ts'
import { counted, withMeta } from '../faults/wrapped.ts'
import { listenToWebhooks, newReceiver, runSchedule } from './receivers.ts'

listenToWebhooks()

/** The log entries of the scheduled job and of webhooks. */

// biome-ignore lint/suspicious/noExplicitAny: its members depend on the log entry.
let logged: any[] = []
beforeEach(() => {
  logged = []
  vi.spyOn(console, 'log').mockImplementation((entry) => void logged.push(entry))
})

const version = { id: 'aaaaaaaa-0000-4000-8000-000000000000', tag: '', timestamp: '' }

describe('the scheduled job', () => {
  test('the scheduled job logs metrics of the cleanup, the database and the webhooks', async () => {
    const counter = counted(withMeta(env.DB, { served_by_region: 'APAC' }))
    await runSchedule({ DB: counter.database, CF_VERSION_METADATA: version })
    const [cleanup, webhooks, ...others] = logged
    expect(others).toEqual([])
    const common = { version: version.id, region: '0', d1_region: 'APAC', d1_attempts: 1, d1_requests: 1 }
    expect(cleanup).toMatchObject({
      message: 'cleanup',
      ...common,
      d1_size_bytes: expect.any(Number),
      clock_skew_ms: 0,
    })
    expect(webhooks).toMatchObject({ message: 'webhooks', ...common, webhooks_delivered: 0, webhooks_failed: 0 })
    expect(cleanup.d1_rows_read + webhooks.d1_rows_read).toBe(counter.rowsRead)
    expect(cleanup.d1_rows_written + webhooks.d1_rows_written).toBe(counter.rowsWritten)
  })

  test.each([-4_000, 4_000])(
    "the scheduled job logs how far D1's clock is ahead of the Worker's: %d ms",
    async (skew) => {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - skew })
      await runSchedule()
      const [cleanup] = logged
      expect(cleanup.clock_skew_ms / skew).toBeGreaterThan(0.5)
      expect(cleanup.clock_skew_ms / skew).toBeLessThan(1.5)
    },
  )
})

describe('the log of the webhooks after a change', () => {
  const answers = { delivered: 200, to_retry: 500, failed: 410 }

  test.each(Object.entries(answers))(
    'a webhook after a change is logged as %s when the receiver returns %i',
    async (outcome, status) => {
      const key = await newApiKey()
      await newReceiver({ ...key, answer: () => new Response('', { status }) })
      logged = []
      await call(key.apiKey, 'POST', '/connect/applications', { body: m2mApplication })
      const [request, webhooks] = ['request', 'webhooks'].map((name) => logged.find(({ message }) => message === name))
      expect(request.d1_requests).toBe(1)
      expect(webhooks).toMatchObject({
        request_id: request.request_id,
        environment_id: key.environmentId,
        webhooks_delivered: 0,
        webhooks_to_retry: 0,
        webhooks_failed: 0,
        [`webhooks_${outcome}`]: 1,
        d1_requests: expect.any(Number),
        d1_rows_written: expect.any(Number),
      })
    },
  )
})
