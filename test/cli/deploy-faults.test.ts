import { generateKeyPair } from 'jose'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { customDomain, Deployment, URL } from './deployment.ts'

/** Faults of the account, and interruptions. The error says what failed and what was changed. A later run completes. */

// No fault depends on the key, and to generate one takes longer than the rest of a deployment.
const keyPair = await generateKeyPair('RS256', { extractable: true })
const generating = vi.spyOn(crypto.subtle, 'generateKey').mockResolvedValue(keyPair)
afterAll(() => {
  expect(generating).toHaveBeenCalled()
  generating.mockRestore()
})

const host = 'secrets.example.com'

/** All calls of a first deployment, in order, those that change something, and the runs of wrangler. */
async function everyCall(): Promise<{ calls: string[]; changes: string[]; runs: string[] }> {
  const deployment = new Deployment()
  await deployment.deploy(customDomain(host))
  const { calls, changes } = deployment.cloudflare
  return { calls: [...new Set(calls)], changes, runs: [...new Set(deployment.runs)] }
}

const { calls, changes, runs } = await everyCall()

/** The changes that a first deployment makes before a call. */
const changesBefore = (call: string) => {
  const before = calls.slice(0, calls.indexOf(call))
  return changes.filter((change) => before.includes(change))
}

describe.each([false, true])(
  'a first deployment that was interrupted completes when it runs again (the reply was lost: %s)',
  (isReplyLost) => {
    test.each([...calls, ...runs, 'open'])(
      'a first deployment that was interrupted at "%s" completes when it runs again',
      async (step) => {
        const deployment = new Deployment()
        const { cloudflare } = deployment
        cloudflare.isReplyLost = isReplyLost
        if (calls.includes(step)) cloudflare.broken = step
        else deployment.broken = step
        const wanted = customDomain('secrets.example.com')
        await expect(deployment.deploy(wanted)).rejects.toThrow(/^(Could not .*\[code: 10001\]|broken off)/)
        if (calls.includes(step)) {
          const last = isReplyLost && changes.includes(step) ? [step] : []
          expect(cloudflare.changes).toEqual([...changesBefore(step), ...last])
        } else if (step === 'open') {
          expect(cloudflare.changes).toEqual(changes)
          expect(await deployment.created()).toEqual({ environments: [], keys: [] })
        } else {
          // The first version has no address.
          expect(cloudflare.versions).toHaveLength(Number(isReplyLost && step === 'deploy'))
          expect([cloudflare.domains, cloudflare.addresses.enabled]).toEqual([{}, false])
        }
        const { url, bootstrap } = await deployment.deploy(wanted)
        expect(url).toBe('https://secrets.example.com')
        expect(bootstrap?.apiKey).toMatch(/^sk_0\w{49}$/)
        expect(cloudflare.databases).toHaveLength(1)
        expect(cloudflare.secretNames).toEqual(['SIGNING_KEY'])
        expect(cloudflare.domains).toEqual({ 'secrets.example.com': 'oncekey' })
        expect(cloudflare.addresses.enabled).toBe(false)
        expect(await deployment.created()).toMatchObject({ environments: ['production'], keys: [{ revokedAt: null }] })
      },
    )
  },
)

describe('an account that is not ready for a deployment', () => {
  test('without a workers.dev subdomain, the error has the URL to register one, and nothing is created', async () => {
    const deployment = new Deployment()
    deployment.cloudflare.subdomain = undefined
    await expect(deployment.deploy()).rejects.toThrow(
      `The account has no workers.dev subdomain yet. Nothing was created. Register one at https://dash.cloudflare.com/${deployment.cloudflare.account.id}/workers/onboarding.`,
    )
    expect(deployment.cloudflare.changes).toEqual([])
    deployment.cloudflare.subdomain = 'jane'
    expect((await deployment.deploy()).url).toBe(URL)
  })

  test.each(calls)(
    'if the Cloudflare token does not allow %s, the error has the needed permissions, and no later step runs',
    async (call) => {
      const deployment = new Deployment()
      deployment.cloudflare.refused = call
      await expect(deployment.deploy(customDomain(host))).rejects.toThrow(
        /^Could not .*: Cloudflare refused: Authentication error \[code: 10000\]\. An API token needs the permissions Workers Scripts Edit, D1 Edit/,
      )
      expect(deployment.cloudflare.changes).toEqual(changesBefore(call))
      deployment.cloudflare.refused = ''
      expect((await deployment.deploy(customDomain(host))).url).toBe(`https://${host}`)
    },
  )

  test('a database with the configured name that has tables of another program is not changed', async () => {
    const deployment = new Deployment()
    const { d1 } = await deployment.cloudflare.addDatabase('oncekey')
    await d1.prepare('CREATE TABLE users (id INTEGER)').run()
    await d1.prepare('CREATE TABLE d1_migrations (id INTEGER, name TEXT)').run()
    await d1.prepare("INSERT INTO d1_migrations VALUES (1, '0001_users.sql')").run()
    await expect(deployment.deploy()).rejects.toThrow(
      'The database oncekey has tables that Oncekey did not create: users. Nothing was changed. Choose another database_name in wrangler.toml.',
    )
    expect(deployment.cloudflare.changes).toEqual([])
    await d1.prepare('DROP TABLE users').run()
    await d1.prepare('DROP TABLE d1_migrations').run()
    expect((await deployment.deploy()).url).toBe(URL)
  })
})

describe('a custom domain', () => {
  test.each<[string, (deployment: Deployment) => void, string]>([
    ['with a DNS record', ({ cloudflare }) => cloudflare.dnsRecords.add(host), `${host} has a DNS record`],
    [
      'of another Worker',
      ({ cloudflare }) => Object.assign(cloudflare.domains, { [host]: 'shop' }),
      `${host} is a domain of shop`,
    ],
  ])('a custom domain %s is used only with --take-domain', async (_, occupy, words) => {
    for (const isFirst of [true, false]) {
      const deployment = new Deployment()
      if (!isFirst) await deployment.deploy()
      occupy(deployment)
      deployment.cloudflare.changes.length = 0
      await expect(deployment.deploy(customDomain(host))).rejects.toThrow(
        `${words}. The domain was not changed. Choose another domain, or run \`npm run deploy -- --take-domain\` to use this one anyway.`,
      )
      expect(deployment.cloudflare.domains[host]).not.toBe('oncekey')
      if (!isFirst) expect(deployment.cloudflare.changes).toEqual([])
      const { said } = await deployment.deploy({ ...customDomain(host), canTakeDomain: true })
      if (!isFirst) expect(said[1]).toContain(`${words}. This deployment gives the domain to Oncekey.`)
      expect(deployment.cloudflare.domains[host]).toBe('oncekey')
    }
  })

  test('a custom domain of another Worker is reported before anything is created', async () => {
    const deployment = new Deployment()
    deployment.cloudflare.domains[host] = 'shop'
    await expect(deployment.deploy(customDomain(host))).rejects.toThrow('is a domain of shop')
    expect(deployment.cloudflare.changes).toEqual([])
  })

  test('a first deployment that fails at a DNS record of the domain leaves a database and a Worker without a URL', async () => {
    const deployment = new Deployment()
    const { cloudflare } = deployment
    cloudflare.dnsRecords.add(host)
    await expect(deployment.deploy(customDomain(host))).rejects.toThrow(`${host} has a DNS record`)
    expect(cloudflare.databases).toHaveLength(1)
    expect(cloudflare.versions).toHaveLength(2)
    expect({ domains: cloudflare.domains, enabled: cloudflare.addresses.enabled }).toEqual({
      domains: {},
      enabled: false,
    })
    expect(await deployment.created()).toEqual({ environments: [], keys: [] })
    cloudflare.dnsRecords.delete(host)
    expect((await deployment.deploy(customDomain(host))).url).toBe(`https://${host}`)
    expect(cloudflare.databases).toHaveLength(1)
  })

  test('deploy says that it removes a custom domain that is no longer in wrangler.toml', async () => {
    const deployment = new Deployment()
    await deployment.deploy(customDomain('old.example.com'))
    const { said } = await deployment.deploy(customDomain(host))
    expect(said[1]).toContain('old.example.com is no longer in wrangler.toml, and is removed from the Worker.')
  })
})

test('deploy fails if an old version still answers after two minutes', async () => {
  const deployment = new Deployment()
  deployment.cloudflare.answering = 'v0'
  await expect(deployment.deploy()).rejects.toThrow(/is not ready after two minutes: version v0 answers, not 0000/)
  expect(await deployment.created()).toEqual({ environments: [], keys: [] })
  deployment.cloudflare.answering = undefined
  expect((await deployment.deploy()).url).toBe(URL)
})

test('deploy waits up to two minutes for the new URL, and reports progress every 20 seconds', async () => {
  const deployment = new Deployment()
  deployment.silence = 25
  const { said } = await deployment.deploy()
  expect(said.filter((line) => line.includes('Not ready'))).toEqual([
    '      Not ready after 20 s: getaddrinfo ENOTFOUND.',
    '      Not ready after 40 s: getaddrinfo ENOTFOUND.',
  ])
  deployment.silence = Number.POSITIVE_INFINITY
  await expect(deployment.deploy()).rejects.toThrow(
    `The Worker was deployed, but ${URL}/readyz is not ready after two minutes: getaddrinfo ENOTFOUND.`,
  )
})

test('deploy lists the versions that share the requests, and the new version gets all requests', async () => {
  const deployment = new Deployment()
  const { cloudflare } = deployment
  await deployment.deploy()
  const [older] = cloudflare.serving
  const newer = cloudflare.addVersion({}, false)
  cloudflare.serving = [
    { version_id: newer, percentage: 10 },
    { version_id: older?.version_id ?? '', percentage: 90 },
  ]
  const { said } = await deployment.deploy()
  expect(said[1]).toContain(
    `Several versions serve requests now: ${older?.version_id} (90 %), ${newer} (10 %). The new version will serve all requests.`,
  )
  expect(cloudflare.serving).toEqual([{ version_id: cloudflare.versions.at(-1)?.id, percentage: 100 }])
})

test('if another version is uploaded during a deployment (error 10215), deploy says what to do, and the next run completes', async () => {
  const deployment = new Deployment()
  const { cloudflare } = deployment
  const { wrangler } = deployment.platform
  let draft = ''
  Object.assign(deployment.platform, {
    wrangler: async (...args: Parameters<typeof wrangler>) => {
      const finished = await wrangler(...args)
      // Another operator uploads a version right after this one.
      if (cloudflare.versions.length === 1) draft = cloudflare.addVersion({}, false)
      return finished
    },
  })
  await expect(deployment.deploy()).rejects.toThrow(
    /^No secret was changed, because the newest version of the Worker does not serve all requests: \S+ \(100 %\) does\..* Run `npm run deploy` with the commit that is to serve/,
  )
  expect(draft).not.toBe('')
  expect(cloudflare.secretNames).toEqual([])
  expect(cloudflare.addresses.enabled).toBe(false)
  expect((await deployment.deploy()).url).toBe(URL)
  expect(cloudflare.secretNames).toEqual(['SIGNING_KEY'])
})

test('after a rollback to a version without a signing key, the next deployment adds a key', async () => {
  const deployment = new Deployment()
  const { cloudflare } = deployment
  await deployment.deploy()
  const withoutKey = cloudflare.versions[0]?.id ?? ''
  cloudflare.serving = [{ version_id: withoutKey, percentage: 100 }]
  const { said } = await deployment.deploy()
  expect(said[4]).toBe('Created. The next step sets it.')
  expect(cloudflare.secretNames).toEqual(['SIGNING_KEY'])
})

describe('an exhausted quota of the Free plan', () => {
  const words = "D1's daily limit of the Workers Free plan is used up until midnight UTC."

  test('if the deployed Worker has no quota left, the error has the Worker’s message', async () => {
    const deployment = new Deployment()
    deployment.refusal = words
    await expect(deployment.deploy()).rejects.toThrow(`is not ready after two minutes: 503 (${words}).`)
    expect(await deployment.created()).toEqual({ environments: [], keys: [] })
    deployment.refusal = ''
    expect((await deployment.deploy()).url).toBe(URL)
  })

  test('if a query of the command fails because of the quota, the error says so, and nothing is changed', async () => {
    const deployment = new Deployment()
    const { described } = await deployment.cloudflare.addDatabase('oncekey')
    deployment.cloudflare.quotaExceeded = true
    await expect(deployment.deploy()).rejects.toThrow(
      "Could not read the database oncekey: Cloudflare refused: D1_ERROR: Your account has exceeded D1's free tier daily row read limit [code: 7500].",
    )
    expect(deployment.cloudflare.changes).toEqual([])
    deployment.cloudflare.quotaExceeded = false
    expect((await deployment.deploy()).said[2]).toBe(
      `Found ${described.name} in ENAM. Warning: this is not weur, which you chose.`,
    )
  })
})

test('an unknown database_id is an error, even if the account has a database', async () => {
  const deployment = new Deployment()
  const { described } = await deployment.cloudflare.addDatabase('made-by-the-button', 'WEUR')
  const region = { digit: '0', binding: 'DB', databaseName: 'oncekey', localId: 'DB' }
  await expect(deployment.deploy({ regions: [{ ...region, databaseId: 'other' }] })).rejects.toThrow(
    'The account has no database with the database_id other of wrangler.toml. Nothing was changed.',
  )
  const { said } = await deployment.deploy({
    regions: [{ ...region, databaseName: 'made-by-the-button', databaseId: described.uuid }],
  })
  expect(said[2]).toBe('Found made-by-the-button in WEUR.')
  expect(deployment.cloudflare.databases).toHaveLength(1)
})

test('code that is older than the database’s migrations is not deployed', async () => {
  const deployment = new Deployment()
  await deployment.deploy()
  deployment.runs.length = 0
  const { d1 } = deployment.cloudflare.databases[0] as { d1: D1Database }
  await d1.exec("INSERT INTO d1_migrations (name) VALUES ('0099_later.sql')")
  await expect(deployment.deploy()).rejects.toThrow(
    'The database oncekey has the tables of a newer version of Oncekey (0099_later.sql). Nothing was changed. Deploy that version or a newer one.',
  )
  expect(deployment.runs).toEqual([])
})
