import { expect } from 'vitest'
import { call, newApiKey, newApplication, send } from '../api.ts'

/** A body byte for byte, and what is said of it. */
interface Sent {
  readonly type?: string | null
  readonly headers?: Record<string, string>
}

/** Creates client secrets of one application from bodies as they are. */
export async function rawCreates() {
  const { apiKey } = await newApiKey()
  const { id } = await newApplication(apiKey)
  const path = `/connect/applications/${id}/client_secrets`

  function create(body: BodyInit | null, { type = 'application/json', headers = {} }: Sent = {}) {
    const request = new Request(`https://oncekey.test${path}`, {
      method: 'POST',
      body: typeof body === 'string' ? new TextEncoder().encode(body) : body,
      headers: { Authorization: `Bearer ${apiKey}`, ...(type !== null && { 'Content-Type': type }), ...headers },
    })
    return send(request, { MAX_SECRETS_PER_APPLICATION: 100 })
  }

  const countSecrets = async () => (await call(apiKey, 'GET', path)).json.length as number

  /** A refused create must not have created anything. */
  async function expectRefused(body: BodyInit, status: number, code: string, sent?: Sent) {
    const before = await countSecrets()
    const reply = await create(body, sent)
    expect([reply.status, reply.json.code]).toEqual([status, code])
    expect(await countSecrets()).toBe(before)
  }

  return { create, countSecrets, expectRefused }
}
