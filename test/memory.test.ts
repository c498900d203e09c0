import { expect, test } from 'vitest'
import { call, newLimitedApiKey } from './api.ts'
import { forget } from './memory.ts'

test('an isolate whose memory was emptied is like a new one', async () => {
  const limited = await newLimitedApiKey()
  expect((await call(limited, 'GET', '/events')).status).toBe(429)
  forget()
  expect((await call(limited, 'GET', '/events')).status).toBe(200)
})
