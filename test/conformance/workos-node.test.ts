import type { ConnectApplication, ListApplicationsOptions } from '@workos-inc/node'
import { beforeAll, describe, expect, test } from 'vitest'
import { newApiKey } from '../operator.ts'
import { ORGANIZATION } from '../requests.ts'
import { serve } from '../served.ts'
import { workosAt } from './workos.ts'

const ULID = '[0-7][0-9A-HJKMNP-TV-Z]{25}'

const served = await serve()
const { fetch, origins } = served
const { apiKey } = await newApiKey(served.database)
const { connect } = workosAt(origins[0], apiKey, { fetch })

const common = {
  object: 'connect_application',
  id: expect.stringMatching(new RegExp(`^conn_app_${ULID}$`)),
  clientId: expect.stringMatching(new RegExp(`^client_${ULID}$`)),
  createdAt: expect.any(Date),
  updatedAt: expect.any(Date),
}

/** Reads an application in each way that the SDK offers. */
async function waysTo({ id, clientId, organizationId }: ConnectApplication): Promise<ConnectApplication[]> {
  const listed = await connect.listApplications({ limit: 100, ...(organizationId && { organizationId }) })
  return [
    await connect.getApplication({ id }),
    await connect.getApplication({ id: clientId }),
    ...listed.data.filter((application) => application.id === id),
  ]
}

function newApplication(name = 'Nightly export') {
  return connect.createM2MApplication(name, ORGANIZATION)
}

/** Until the clock shows another time than now, so that two changes have different times. */
async function nextMillisecond(): Promise<void> {
  for (const now = Date.now(); Date.now() === now; ) await new Promise((resolve) => setImmediate(resolve))
}

describe('applications', () => {
  test('an m2m application is created with all options', async () => {
    const options = {
      name: 'Nightly export – Żółw 🐢',
      description: 'Runs at 2:00',
      scopes: ['orders:read', 'openid'],
      organizationId: ORGANIZATION,
    }
    const created = await connect.createApplication({ applicationType: 'm2m', ...options })
    expect(created).toStrictEqual({ ...common, applicationType: 'm2m', ...options })
    expect(created.updatedAt).toEqual(created.createdAt)
    expect(Math.abs(created.createdAt.getTime() - Date.now())).toBeLessThan(60_000)
    expect(await waysTo(created)).toStrictEqual([created, created, created])
  })

  test('an m2m application is created with the required options only', async () => {
    const expected = {
      ...common,
      applicationType: 'm2m',
      name: 'Least',
      description: null,
      scopes: [],
      organizationId: ORGANIZATION,
    }
    const least = { name: 'Least', organizationId: ORGANIZATION }
    expect(await connect.createApplication({ applicationType: 'm2m', ...least })).toStrictEqual(expected)
    expect(await connect.createM2MApplication('Least', ORGANIZATION)).toStrictEqual(expected)
  })

  test('a third-party oauth application is created with all options', async () => {
    const options = {
      name: 'Partner',
      description: 'Of Acme',
      scopes: ['openid', 'profile'],
      usesPkce: true,
      isFirstParty: false,
      organizationId: ORGANIZATION,
    }
    const redirectUris = [
      { uri: 'https://acme.example/callback' },
      { uri: 'http://localhost:3000/callback', default: true },
    ]
    const created = await connect.createApplication({ applicationType: 'oauth', ...options, redirectUris })
    expect(created).toStrictEqual({
      ...common,
      applicationType: 'oauth',
      ...options,
      redirectUris: redirectUris.map(({ uri }, i) => ({ uri, default: i === 1 })),
      wasDynamicallyRegistered: false,
    })
    expect(await waysTo(created)).toStrictEqual([created, created, created])
  })

  test('a first-party oauth application is created, and its first redirect URI is the default', async () => {
    const expected = {
      ...common,
      applicationType: 'oauth',
      name: 'Console',
      description: null,
      scopes: [],
      redirectUris: [
        { uri: 'com.example.app:/callback', default: true },
        { uri: 'https://app.example/callback', default: false },
      ],
      usesPkce: false,
      isFirstParty: true,
      wasDynamicallyRegistered: undefined,
      organizationId: undefined,
    }
    const redirectUris = expected.redirectUris.map(({ uri }) => ({ uri }))
    const options = { name: 'Console', isFirstParty: true, redirectUris }
    const created = await connect.createApplication({ applicationType: 'oauth', ...options })
    expect(created).toStrictEqual(expected)
    expect(await waysTo(created)).toStrictEqual([created, created, created])
    const positional = await connect.createOAuthApplication('Console', true, undefined, undefined, redirectUris)
    expect(positional).toStrictEqual(expected)
  })

  test('an update leaves omitted options unchanged, but clears an omitted description, because the SDK sends null for it', async () => {
    const created = await connect.createApplication({
      applicationType: 'oauth',
      name: 'Before',
      description: 'Old',
      scopes: ['openid'],
      redirectUris: [{ uri: 'https://a.example/' }, { uri: 'https://b.example/' }],
      isFirstParty: true,
    })
    await nextMillisecond()
    const renamed = await connect.updateApplication({ id: created.id, name: 'After' })
    expect(renamed).toStrictEqual({ ...created, name: 'After', description: null, updatedAt: expect.any(Date) })
    expect(renamed.updatedAt.getTime()).toBeGreaterThan(created.updatedAt.getTime())

    const id = created.clientId
    const redirectUris = [{ uri: 'https://c.example/' }, { uri: 'https://d.example/', default: true }]
    const changed = await connect.updateApplication({ id, description: 'New', scopes: ['email'], redirectUris })
    expect(changed).toStrictEqual({
      ...renamed,
      description: 'New',
      scopes: ['email'],
      redirectUris: [{ uri: 'https://c.example/', default: false }, redirectUris[1]],
      updatedAt: expect.any(Date),
    })
    const cleared = await connect.updateApplication({ id, scopes: [], redirectUris: [] })
    const empty = { description: null, scopes: [], redirectUris: [], updatedAt: expect.any(Date) }
    expect(cleared).toStrictEqual({ ...changed, ...empty })
    expect(await connect.getApplication({ id })).toStrictEqual(cleared)
  })

  test('an m2m application is updated although the SDK sends null for its redirect URIs', async () => {
    const created = await newApplication()
    const updated = await connect.updateApplication({ id: created.id, name: 'Hourly export' })
    expect(updated).toStrictEqual({ ...created, name: 'Hourly export', updatedAt: expect.any(Date) })
  })

  test('a deleted application is not found by either ID, and deleting it again succeeds', async () => {
    const created = await newApplication()
    await connect.createApplicationClientSecret({ id: created.id })
    for (const id of [created.id, created.clientId]) {
      await connect.deleteApplication({ id })
      await expect(connect.getApplication({ id })).rejects.toMatchObject({ status: 404 })
      await expect(connect.listApplicationClientSecrets({ id })).rejects.toMatchObject({ status: 404 })
    }
  })
})

describe('client secrets', () => {
  test('secrets are created, listed oldest first without plaintext, and revoked', async () => {
    const { id, clientId } = await newApplication()
    expect(await connect.listApplicationClientSecrets({ id })).toEqual([])
    const first = await connect.createApplicationClientSecret({ id })
    expect(first).toStrictEqual({
      object: 'connect_application_secret',
      id: expect.stringMatching(new RegExp(`^secret_${ULID}$`)),
      secret: expect.stringMatching(/^cs_[0-9A-Za-z]{50}$/),
      secretHint: first.secret.slice(-6),
      lastUsedAt: null,
      createdAt: expect.any(Date),
      updatedAt: first.createdAt,
    })
    await nextMillisecond()
    const second = await connect.createApplicationClientSecret({ id: clientId })
    const listed = [first, second].map(({ secret, ...rest }) => rest)
    expect(await connect.listApplicationClientSecrets({ id })).toStrictEqual(listed)
    expect(await connect.listApplicationClientSecrets({ id: clientId })).toStrictEqual(listed)

    await connect.deleteClientSecret({ id: first.id })
    await connect.deleteClientSecret({ id: first.id })
    expect(await connect.listApplicationClientSecrets({ id })).toStrictEqual(listed.slice(1))
  })
})

describe('auto-pagination through 250 applications', () => {
  // More than two pages of the 100 that auto-pagination reads at once.
  let all: typeof connect
  /** Newest first. */
  let newest: ConnectApplication[]

  beforeAll(async () => {
    const { apiKey } = await newApiKey(served.database)
    const { connect } = workosAt(origins[0], apiKey, { fetch })
    all = connect
    const created = await Promise.all(
      Array.from({ length: 250 }, (_, i) => connect.createM2MApplication(`${i}`, i % 2 ? ORGANIZATION : 'org_other')),
    )
    const time = ({ createdAt }: ConnectApplication) => createdAt.getTime()
    newest = created.sort((a, b) => time(b) - time(a) || (a.id < b.id ? 1 : -1))
  })

  const list = (options?: ListApplicationsOptions) => all.listApplications(options)
  // The SDK's types leave out the order that other SDKs of the vendor offer.
  const normal = 'normal' as 'desc'

  test('auto-pagination returns each application once, newest first by default', async () => {
    const listed = await list()
    expect(listed.data).toStrictEqual(newest.slice(0, 10))
    expect(listed.listMetadata).toEqual({ before: null, after: newest[9]?.id })
    expect(await listed.autoPagination()).toStrictEqual(newest)
    expect(await (await list({ order: 'desc' })).autoPagination()).toStrictEqual(newest)
  })

  test('auto-pagination in ascending order returns each application once, oldest first', async () => {
    expect(await (await list({ order: 'asc' })).autoPagination()).toStrictEqual(newest.toReversed())
  })

  test('auto-pagination continues after a given application, within an organization', async () => {
    const of = newest.filter(({ organizationId }) => organizationId === ORGANIZATION)
    const listed = await list({ organizationId: ORGANIZATION, after: of[9]?.id ?? '' })
    expect(await listed.autoPagination()).toStrictEqual(of.slice(10))
  })

  test('with order=normal, auto-pagination leads from a given application to the newest one', async () => {
    const first = await list({ order: normal })
    expect(first.data).toStrictEqual(newest.slice(0, 10))
    expect(first.listMetadata).toEqual({ before: newest[9]?.id, after: null })
    expect(await first.autoPagination()).toStrictEqual(newest.slice(0, 100))

    const upwards = await list({ order: normal, after: newest[249]?.id ?? '' })
    const pages = [newest.slice(149, 249), newest.slice(49, 149), newest.slice(0, 49)]
    expect(await upwards.autoPagination()).toStrictEqual(pages.flat())
  })

  test('with order=normal, the before cursor leads from the newest application to the oldest one', async () => {
    const walked: ConnectApplication[] = []
    for (let before: string | null | undefined = ''; before !== null; ) {
      const page = await list({ order: normal, limit: 100, before: before || null })
      walked.push(...page.data)
      before = page.listMetadata.before ?? null
    }
    expect(walked).toStrictEqual(newest)
  })

  test('the cursors of a page in the middle lead to the next and the previous page', async () => {
    for (const [order, rows] of [
      ['desc', newest],
      ['asc', newest.toReversed()],
    ] as const) {
      const middle = await list({ order, limit: 20, after: rows[99]?.id ?? '' })
      expect(middle.data).toStrictEqual(rows.slice(100, 120))
      expect(middle.listMetadata).toEqual({ before: rows[100]?.id, after: rows[119]?.id })
      const back = await list({ order, limit: 100, before: middle.listMetadata.before ?? '' })
      expect(back.data).toStrictEqual(rows.slice(0, 100))
      expect(back.listMetadata).toEqual({ before: null, after: rows[99]?.id })
    }
  })
})
