import { expect, test } from 'vitest'
import { call, newApiKey, newApplication } from '../api.ts'

test('a created secret is shown once, and listed by its hint', async () => {
  const { apiKey } = await newApiKey()
  const { id } = await newApplication(apiKey)
  const created = await call(apiKey, 'POST', `/connect/applications/${id}/client_secrets`, { body: {} })
  expect(created.status, created.text).toBe(201)
  const { secret, ...rest } = created.json
  expect(rest.secret_hint).toBe(secret.slice(-6))
  const listed = await call(apiKey, 'GET', `/connect/applications/${id}/client_secrets`)
  expect(listed.json).toEqual([rest])
})
