import { describe, expect, inject, test } from 'vitest'
import { sha256, toHex } from '../../src/credential/digest.ts'
import { newSigningKey } from '../../src/credential/signing-key.ts'
import { check } from '../crash/check.ts'
import { create, type History } from '../crash/history.ts'
import { newRun } from '../crash/run.ts'
import { seed, size } from '../sizes.ts'

test('when the runtime is killed under load, no acknowledged change is lost or made twice', async () => {
  const signingKey = JSON.stringify(await newSigningKey('ES256'))
  const run = newRun(inject('bundle').script, signingKey, seed, size(150, 500))
  const problems: string[] = []
  for (let i = 0; i < size(2, 50); i++) problems.push(...(await run.cycle()))
  await run.stop()
  expect(problems).toEqual([])
  expect(run.totals.creates).toBeGreaterThan(0)
})

describe('the check of the database after a crash', async () => {
  const secret = (id: string, state: 'active' | 'revoked') => ({ id, plaintext: id, state })
  const history = {
    secrets: [secret('a', 'active'), secret('b', 'revoked')],
    unknown: [],
    application: { id: 'app', clientId: 'client' },
    acknowledged: { creates: 2, rotations: 0, revocations: 1, uses: 0 },
  } satisfies History
  const row = async (id: string, revoked: 0 | 1) => ({ id, digest: toHex(await sha256(id)), revoked })
  const event = (id: string, type: string) => ({ secret: id, type: `connect_application_secret.${type}` })
  const secrets = [await row('a', 0), await row('b', 1)]
  const events = [event('a', 'created'), event('b', 'rotated'), event('b', 'deleted')]

  test('the check finds no problem if the database has exactly the acknowledged changes', async () =>
    expect(await check(history, { secrets, events }, 0)).toEqual([]))

  test.each([
    ['a lost secret', { secrets: secrets.slice(1), events }, 'a was acknowledged, and is lost'],
    [
      'a changed digest',
      { secrets: [{ ...(await row('x', 0)), id: 'a' }, ...secrets.slice(1)], events },
      'a has another digest',
    ],
    ['a lost revocation', { secrets: [...secrets.slice(0, 1), await row('b', 0)], events }, 'b should be revoked'],
    ['a lost event', { secrets, events: events.slice(1) }, 'a has 0 events'],
    ['an event that was recorded twice', { secrets, events: [...events, event('b', 'deleted')] }, 'b has 2 events'],
    [
      'a secret that was created twice',
      { secrets: [...secrets, await row('c', 0)], events },
      '1 secrets were stored without an acknowledgement, of 0',
    ],
  ])('the check finds %s', async (_, stored, words) =>
    expect((await check(history, stored, 0)).join()).toContain(words),
  )

  test.each([
    ['The database did not respond in time. Nothing was changed. Try again.', 0],
    ['The database did not respond in time, so the outcome is unknown.', 1],
  ])('after the 503 "%s", the check allows %i secrets that were not acknowledged', async (message, most) => {
    const one: History = { ...history, unknown: [] }
    await create(one, '/secrets', null, async () => ({ status: 503, json: { message } }))
    expect(one.unknown).toHaveLength(most)
  })
})
