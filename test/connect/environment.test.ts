import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import { changeOfEnvironment } from '../../src/storage/environments.ts'
import { changeEnvironmentOf } from '../../src/storage/operator/environments.ts'
import { call, newApiKey, operatorDatabase } from '../api.ts'
import { Visitor } from '../dashboard/pages.ts'
import { losingFirstReply } from '../faults/wrapped.ts'

const PATH = '/connect/environment'
const SETTINGS = '/dashboard/settings'

let key: Awaited<ReturnType<typeof newApiKey>>
let reader: Awaited<ReturnType<typeof newApiKey>>

beforeAll(async () => {
  key = await newApiKey()
  reader = await newApiKey({ environmentId: key.environmentId, access: 'read' })
})

const update = (body: object) => call(key.apiKey, 'PATCH', PATH, { body })
const changes = async () => (await call(key.apiKey, 'GET', '/events?events=environment.updated')).json.data

describe('the environment of an API key', () => {
  test('a new environment has the leak reaction “notify”, and is not frozen', async () => {
    const { status, json } = await call(reader.apiKey, 'GET', PATH)
    expect(status).toBe(200)
    expect(json).toMatchObject({
      object: 'environment',
      id: key.environmentId,
      leak_reaction: 'notify',
      frozen_at: null,
    })
  })

  test('two updates that set a setting to the same value record one event', async () => {
    for (const _ of [1, 2]) expect((await update({ leak_reaction: 'disable' })).json.leak_reaction).toBe('disable')
    expect((await update({})).json.leak_reaction).toBe('disable')
    const [event, ...others] = await changes()
    expect(others).toEqual([])
    expect(event.data).toEqual((await call(reader.apiKey, 'GET', PATH)).json)
    expect(event.context).toMatchObject({ actor: 'api_key', api_key: { id: key.id } })
  })

  test('an update with an unknown leak reaction gets 422, and an update with a read-only key gets 403', async () => {
    const { status, json } = await update({ leak_reaction: 'panic' })
    expect([status, json.errors[0].field]).toEqual([422, 'leak_reaction'])
    expect((await call(reader.apiKey, 'PATCH', PATH, { body: {} })).status).toBe(403)
  })

  test('of the limits for client secrets, an update sets those it contains, keeps those it omits, and removes those that are null', async () => {
    const policy = { max_lifetime_days: 90, max_unused_days: 3650 }
    expect((await call(reader.apiKey, 'GET', PATH)).json).toMatchObject({
      max_lifetime_days: null,
      max_unused_days: null,
    })
    expect((await update(policy)).json).toMatchObject(policy)
    expect((await update({ max_unused_days: null })).json).toMatchObject({ ...policy, max_unused_days: null })
    expect((await changes()).at(-1).data).toMatchObject({ ...policy, max_unused_days: null })
    for (const days of [0, -1, 1.5, 3651, '90', true]) {
      const { status, json } = await update({ max_lifetime_days: days })
      expect([status, json.errors[0].field]).toEqual([422, 'max_lifetime_days'])
    }
    expect((await update({ max_lifetime_days: null })).json).toMatchObject({ max_lifetime_days: null })
  })

  test('a retried update does not undo a later update', async () => {
    const changed = await update({ leak_reaction: 'revoke' })
    await update({ leak_reaction: 'notify' })
    // A lost reply makes `sendBatch` send the same statements once more.
    const [event] = (await changes()).slice(-2)
    expect(changed.json.leak_reaction).toBe(event.data.leak_reaction)
    const lossy = losingFirstReply(env.DB, () => update({ leak_reaction: 'notify' }))
    const repeated = await call(key.apiKey, 'PATCH', PATH, {
      body: { leak_reaction: 'disable' },
      bindings: { DB: lossy.database },
    })
    expect([repeated.status, lossy.batches]).toEqual([200, 2])
    expect((await call(key.apiKey, 'GET', PATH)).json.leak_reaction).toBe('notify')
    expect(
      (await changes()).slice(-2).map((one: { data: { leak_reaction: string } }) => one.data.leak_reaction),
    ).toEqual(['disable', 'notify'])
  })

  test('a change of a setting by the operator records one event, whose actor is the operator', async () => {
    const { length } = await changes()
    for (const _ of [1, 2])
      await changeEnvironmentOf(
        operatorDatabase(),
        key.environmentId,
        Date.now(),
        changeOfEnvironment({ leakReaction: 'revoke' }, Date.now()),
      )
    const events = await changes()
    expect(events).toHaveLength(length + 1)
    expect(events.at(-1)).toMatchObject({ data: { leak_reaction: 'revoke' }, context: { actor: 'operator' } })
    expect((await call(key.apiKey, 'GET', PATH)).json.leak_reaction).toBe('revoke')
  })
})

describe('the settings page', () => {
  test('the settings page shows the leak reaction, and saves another one', async () => {
    const visitor = new Visitor()
    await visitor.signIn(key.apiKey)
    const before = await visitor.get(SETTINGS)
    expect(before.html).toMatch(/value="revoke" checked/)
    const saved = await visitor.post(SETTINGS, { leak_reaction: 'notify' })
    expect([saved.status, saved.headers.get('Location')]).toEqual([303, SETTINGS])
    const after = await visitor.get(SETTINGS)
    expect(after.html).toMatch(/value="notify" checked/)
    expect(after.html).toContain('Settings saved.')
    expect((await visitor.post(SETTINGS, { leak_reaction: 'panic' })).status).toBe(422)
  })

  test('the settings page saves the limits for client secrets, and an empty field removes a limit', async () => {
    const visitor = new Visitor()
    await visitor.signIn(key.apiKey)
    const save = (fields: Record<string, string>) => visitor.post(SETTINGS, { leak_reaction: 'notify', ...fields })
    await save({ max_lifetime_days: '90', max_unused_days: ' 30 ' })
    const { html } = await visitor.get(SETTINGS)
    expect(html).toMatch(/value="90" id="max_lifetime_days"/)
    expect(html).toMatch(/value="30" id="max_unused_days"/)
    const refused = await save({ max_lifetime_days: '1e9', max_unused_days: 'soon' })
    expect(refused.status).toBe(422)
    expect(refused.html).toContain('value="1e9"')
    expect(refused.html).toContain('Must be a whole number from 1 to 3650.')
    for (const days of ['0x10', '1e2', '5.0', '+7', 'Infinity'])
      expect((await save({ max_lifetime_days: days, max_unused_days: '' })).status, days).toBe(422)
    await save({ max_lifetime_days: '', max_unused_days: '30' })
    expect((await call(key.apiKey, 'GET', PATH)).json).toMatchObject({ max_lifetime_days: null, max_unused_days: 30 })
  })

  test('a visitor with a read-only key sees the settings and can’t save them', async () => {
    const visitor = new Visitor()
    await visitor.signIn(reader.apiKey)
    expect((await visitor.get(SETTINGS)).html).not.toContain('Save settings')
    expect((await visitor.post(SETTINGS, { leak_reaction: 'revoke' })).status).toBe(403)
  })
})
