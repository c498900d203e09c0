import { beforeAll, describe, expect, inject, test } from 'vitest'
import { app } from '../src/app.ts'
import { issueCredential, recogniseCredential } from '../src/credential/credential.ts'
import { regionOfId } from '../src/credential/id.ts'
import { call, type Reply, send } from './api.ts'
import { basic, getToken, introspect, requestToken, seen, unlimited } from './oauth/client.ts'
import {
  answer,
  countedRegions,
  DIGITS,
  type Digit,
  newTenant,
  regionBindings,
  requestAs,
  sessionOf,
  type Tenant,
} from './regions.ts'
import { secretsOf } from './requests.ts'

/** Several regions in one Worker: a credential leads to the database of its region, and to no other. */

const isLong = inject('isLong')
let tenants: Record<Digit, Tenant>

beforeAll(async () => {
  const made = await Promise.all(DIGITS.map((digit) => newTenant(digit)))
  tenants = Object.fromEntries(made.map((tenant) => [tenant.digit, tenant])) as typeof tenants
})

const routes = [
  ...new Set(app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => `${method} ${path}`)),
]
/** Search forms redirect to the URL of the results, without a D1 request. */
const SEARCHES = ['search', 'find', 'events', 'secrets'].map((page) => `POST /dashboard/${page}`)

/** /readyz asks every region. The others are public, or a form without a caller. */
const isPublic = (route: string) => !/ \/(connect|events|oauth2\/(token|introspection)|dashboard)/.test(route)
const ofCallers = routes.filter((route) => !isPublic(route) && route !== 'GET /dashboard/sign-in')

test('these tests know more than 40 routes that need a caller, and the public routes', () => {
  expect(routes.filter(isPublic).map((route) => route.split(' ')[1])).toEqual(
    expect.arrayContaining(['/', '/healthz', '/readyz', '/openapi.json', '/docs', '/oauth2/jwks']),
  )
  expect(ofCallers.length).toBeGreaterThan(40)
})

describe.each(['0', '1'] as const)('a caller of region %s', (digit) => {
  let tenant: Tenant & { readonly session: string }
  beforeAll(async () => {
    const made = await newTenant(digit)
    tenant = { ...made, session: await sessionOf(made) }
  })

  // A database of another region would be asked by mistake where the region is not the first one.
  const tried = isLong || digit === '1' ? ofCallers : ofCallers.filter((_, i) => i % 3 === 0)
  test.each(tried)(
    '%s makes D1 requests only to the caller’s region, and at most one before the response',
    async (route) => {
      const { bindings, trips } = countedRegions(DIGITS.length)
      const request = await requestAs(route.endsWith('/sign-out') ? { ...tenant, session: undefined } : tenant, route)
      let before = {}
      const { status, text } = await answer(request, { ...unlimited, ...bindings }, () => {
        before = trips()
      })
      const { [digit]: own, ...others } = trips()
      expect(Object.values(others), text).toEqual([0, 0])
      if (SEARCHES.includes(route)) expect([own, status]).toEqual([0, 303])
      else expect(before, `${status} ${text}`).toEqual({ '0': 0, '1': 0, '2': 0, [digit]: 1 })
    },
  )
})

const PAIRS: [own: Digit, other: Digit][] = [
  ['0', '1'],
  ['1', '0'],
  ...(isLong ? [['2', '1'] satisfies [Digit, Digit]] : []),
]

describe.each(PAIRS)('with a key of region %s and an ID of region %s', (own, other) => {
  test.each(routes.filter((route) => / \/connect\/.*:id/.test(route)))(
    '%s returns the same for an ID of another region as for an unknown ID',
    async (route) => {
      const ask = async (id: string) => {
        const { bindings, trips } = countedRegions(DIGITS.length)
        const { status, text } = await send(await requestAs(tenants[own], route, id), bindings)
        return { status, text: text.replaceAll(id, 'ID'), trips: trips() }
      }
      const { applicationId, clientId, secretId } = tenants[other]
      for (const id of [applicationId, clientId, secretId]) {
        const foreign = await ask(id)
        expect(foreign).toEqual(await ask(`${id.slice(0, -3)}000`))
        expect(foreign.status).toBe(404)
        expect(foreign.trips).toEqual({ '0': 0, '1': 0, '2': 0, [own]: 1 })
      }
    },
  )

  test.each(['/connect/applications', '/events'])(
    'GET %s returns the same for a cursor of another region as for an unknown cursor',
    async (path) => {
      const { json } = await tenants[other].send('GET', path)
      const { id } = json.data[0]
      const { bindings, trips } = countedRegions(DIGITS.length)
      const ask = async (cursor: string) => {
        const { status, text } = await tenants[own].send('GET', `${path}?after=${cursor}`, { bindings })
        return { status, text }
      }
      expect(await ask(id)).toEqual(await ask(`${id.slice(0, -3)}000`))
      expect(trips()).toEqual({ '0': 0, '1': 0, '2': 0, [own]: 2 })
    },
  )
})

describe('a credential of an unknown region', async () => {
  const unknown = async (prefix: string) => (await issueCredential(prefix, '0')).plaintext
  const elsewhere = async (prefix: string, digit = 'Z') => (await issueCredential(prefix, digit)).plaintext

  /** Both answers, byte for byte, and the D1 requests of the second one. */
  async function compare(
    ask: (credential: string, bindings: Partial<Env>) => Promise<Omit<Reply, 'json'>>,
    prefix: string,
  ) {
    const here = seen(await ask(await unknown(prefix), { ...unlimited, ...regionBindings(2) }))
    // Lowercase digits are no region's, and region 2 is not configured.
    for (const digit of ['Z', 'z', '2']) {
      const { bindings, trips } = countedRegions(2)
      expect(seen(await ask(await elsewhere(prefix, digit), { ...unlimited, ...bindings }))).toEqual(here)
      expect(trips()).toEqual({ '0': 0, '1': 0 })
    }
    return here
  }

  test.each(routes.filter((route) => / \/(connect|events)/.test(route)))(
    '%s returns the same for an API key of an unknown region as for an unknown key, without a D1 request',
    async (route) => {
      const [method = '', path = ''] = route.split(' ')
      const { status } = await compare(
        (key, bindings) => call(key, method, path, { bindings, ...(method !== 'GET' && { body: {} }) }),
        'sk',
      )
      expect(status).toBe(401)
    },
  )

  test.each(['/oauth2/token', '/oauth2/introspection'])(
    '%s returns the same for a client secret of an unknown region as for an unknown secret, without a D1 request',
    async (path) => {
      const { clientId } = tenants['0']
      const { status, text } = await compare(
        (secret, bindings) =>
          send(
            new Request(`https://oncekey.test${path}`, {
              method: 'POST',
              headers: {
                Authorization: basic(clientId, secret),
                'Content-Type': 'application/x-www-form-urlencoded',
              },
              body: 'grant_type=client_credentials&token=x',
            }),
            bindings,
          ),
        'cs',
      )
      expect([status, JSON.parse(text).error]).toEqual([401, 'invalid_client'])
    },
  )

  test('sign-in returns the same for an API key of an unknown region as for an unknown key, without a D1 request', async () => {
    const { status, text } = await compare(
      async (key, bindings) =>
        answer(await requestAs({ ...tenants['0'], apiKey: key }, 'POST /dashboard/sign-in'), bindings),
      'sk',
    )
    expect(status).toBe(422)
    expect(text).toContain('Invalid or revoked API key.')
  })

  test('the dashboard returns the same for a session of an unknown region as for an unknown session, without a D1 request', async () => {
    const { status } = await compare(
      (session, bindings) =>
        answer(
          new Request('https://oncekey.test/dashboard', { headers: { Cookie: `__Host-session=${session}` } }),
          bindings,
        ),
      'session',
    )
    expect(status).toBe(303)
  })

  test('verify returns “valid: false” for a client secret of another or an unknown region, and makes no D1 request to another region', async () => {
    const { bindings, trips } = countedRegions(2)
    const path = '/connect/client_secrets/verify'
    for (const plaintext of [await unknown('cs'), await elsewhere('cs'), tenants['1'].secret]) {
      const body = { client_secret: plaintext }
      expect((await tenants['0'].send('POST', path, { body, bindings })).json).toEqual({ valid: false })
    }
    expect(trips()).toEqual({ '0': 3, '1': 0 })
  })
})

describe.each(DIGITS)('region %s', (digit) => {
  const bindings = () => ({ ...regionBindings(DIGITS.length) })

  test('every ID and credential that is created in a region contains the region’s digit', async () => {
    const { send, applicationId, clientId, secretId, secret } = tenants[digit]
    const events: { id: string }[] = (await send('GET', '/events?limit=100')).json.data
    expect(events.length).toBeGreaterThan(1)
    for (const id of [applicationId, clientId, secretId, ...events.map(({ id }) => id)])
      expect(regionOfId(id)).toBe(digit)
    const session = await sessionOf(tenants[digit])
    for (const credential of [secret, session]) expect(recogniseCredential(credential)?.region).toBe(digit)
  })

  test('a region issues tokens only for its own secrets, and a token is inactive in other regions', async () => {
    const tenant = { ...tenants[digit], audience: '' }
    const token = await getToken(tenant, { bindings: bindings() })
    expect((await introspect(tenant, token, { bindings: bindings() })).json.active).toBe(true)
    for (const other of DIGITS.filter((other) => other !== digit)) {
      const stranger = { ...tenants[other], audience: '' }
      const counters = countedRegions(DIGITS.length)
      expect((await introspect(stranger, token, { bindings: counters.bindings })).json).toEqual({ active: false })
      expect(counters.trips()[digit]).toBe(0)
      const mixed = { ...tenant, secret: stranger.secret }
      expect((await requestToken(mixed, {}, { bindings: bindings() })).status).toBe(401)
    }
  })

  test('a create is replayed only in its own region: the same Idempotency-Key in another region creates a new secret', async () => {
    const create = async (tenant: Tenant) => {
      const path = secretsOf(tenant.applicationId)
      return tenant.send('POST', path, { headers: { 'Idempotency-Key': `in-${digit}` } })
    }
    const first = await create(tenants[digit])
    for (const other of DIGITS.filter((other) => other !== digit)) {
      const elsewhere = await create(tenants[other])
      expect([elsewhere.status, elsewhere.headers.get('Idempotent-Replayed')]).toEqual([201, null])
      expect(elsewhere.json.secret).not.toBe(first.json.secret)
    }
    const again = await create(tenants[digit])
    expect([again.text, again.headers.get('Idempotent-Replayed')]).toEqual([first.text, 'true'])
  })
})
