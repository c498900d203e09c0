import { expect, test } from 'vitest'
import { call, newLimitedApiKey } from './api.ts'
import { forget } from './memory.ts'

test('forget(), a helper of the tests, empties the memory of an isolate, so that a limited API key works again', async () => {
  const limited = await newLimitedApiKey()
  expect((await call(limited, 'GET', '/events')).status).toBe(429)
  forget()
  expect((await call(limited, 'GET', '/events')).status).toBe(200)
})
