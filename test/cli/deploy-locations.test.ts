import { describe, expect, test } from 'vitest'
import type { LocationOptions } from '../../src/cli/deploy-locations.ts'
import { createEnvironment } from '../../src/storage/operator/environments.ts'
import { Deployment, plan, twoRegions } from './deployment.ts'
import { cli } from './terminal.ts'

/** Where `npm run deploy` creates databases, and what it says about the location. */

const noLocation: LocationOptions = { locations: new Map(), isAnywhere: false }
const at = (entries: Record<string, object>): { locations: LocationOptions } => ({
  locations: { locations: new Map(Object.entries(entries)), isAnywhere: false },
})

/** An operator who types these lines. */
function operator(...lines: string[]) {
  const questions: string[] = []
  const ask = async (question: string) => {
    questions.push(question)
    return lines.shift() ?? ''
  }
  return { questions, ask }
}

describe('the location of a new database', () => {
  test('without a terminal and without a location, deploy fails and creates nothing', async () => {
    const deployment = new Deployment()
    const { code, stderr } = await cli(['deploy'], { platform: deployment.platform, env: { CI: 'true' } })
    expect(stderr).toContain(
      "Choose where D1 creates oncekey, because the location of a database can't be changed later. Nothing was created. Run: npm run deploy -- --location LOCATION\nLOCATION is one of weur, eeur, apac, oc, wnam, enam. `--jurisdiction` takes eu, us, fedramp. `--anywhere` means near the machine that runs this command.",
    )
    expect(code).toBe(1)
    expect(deployment.cloudflare.changes).toEqual([])
    expect((await cli(['deploy', '--anywhere'], { platform: deployment.platform })).code).toBe(0)
    expect(deployment.cloudflare.databases).toMatchObject([{ described: { running_in_region: 'ENAM' } }])
  })

  test('at a terminal, deploy asks for the location of a new database, and asks again after an invalid answer', async () => {
    const deployment = new Deployment()
    const { questions, ask } = operator('Tokyo', ' APAC ')
    const { said } = await deployment.deploy({ locations: noLocation }, ask)
    expect(questions[0]).toContain(
      "Where should the database oncekey be? Its location can't be changed later.\n  weur      Western Europe\n",
    )
    expect(questions[1]).toBe('tokyo is not a location in this list.\nLocation: ')
    expect(said[2]).toBe("Created oncekey in APAC.\n      The location of a database can't be changed later.")
  })

  test.each([
    ['eu', { running_in_region: 'ENAM', jurisdiction: 'eu' }],
    ['anywhere', { running_in_region: 'ENAM' }],
  ])('the operator can answer the question for the location with %s', async (answer, described) => {
    const deployment = new Deployment()
    await deployment.deploy({ locations: noLocation }, operator(answer).ask)
    expect(deployment.cloudflare.databases).toMatchObject([{ described }])
  })

  test('an empty answer to the question for the location ends the command, and nothing is created', async () => {
    const deployment = new Deployment()
    await expect(deployment.deploy({ locations: noLocation }, operator('').ask)).rejects.toThrow(
      'No location was chosen.',
    )
    expect(deployment.cloudflare.changes).toEqual([])
  })

  test('deploy does not ask for a location if the database exists', async () => {
    const deployment = new Deployment()
    await deployment.deploy()
    const { said } = await deployment.deploy({ locations: noLocation })
    expect(said[2]).toBe('Found oncekey in WEUR.')
  })

  test('deploy warns if D1 created a database at another location', async () => {
    const deployment = new Deployment()
    deployment.cloudflare.region = 'EEUR'
    const { said } = await deployment.deploy(at({ '': { location: 'weur' } }))
    expect(said[2]).toContain('Created oncekey in EEUR. Warning: this is not weur, which you chose.')
    expect((await deployment.deploy(at({ '': { location: 'oc' } }))).said[2]).toBe(
      'Found oncekey in EEUR. Warning: this is not oc, which you chose.',
    )
  })
})

test('deploy fails if an existing database has another jurisdiction than --jurisdiction names', async () => {
  const deployment = new Deployment()
  const { said } = await deployment.deploy(at({ '': { jurisdiction: 'eu' } }))
  expect(said[2]).toContain('Created oncekey in ENAM, jurisdiction eu.')
  await deployment.deploy(at({ '': { jurisdiction: 'eu' } }))
  await expect(deployment.deploy(at({ '': { jurisdiction: 'us' } }))).rejects.toThrow('its jurisdiction is eu, not us')
})

test.each([
  [['--location', 'tokyo'], '--location must be one of weur, eeur, apac, oc, wnam, enam'],
  [['--jurisdiction', 'weur'], '--jurisdiction must be one of eu, us, fedramp'],
  [['--location', '7=weur'], '--location 7=weur names a region that REGIONS in wrangler.toml does not have.'],
  [['--location', 'weur', '--jurisdiction', 'eu'], '--jurisdiction eu names a second location for the same database.'],
])('the options %j are refused as a usage error', async (words, sentence) => {
  const { code, stderr } = await cli(['deploy', ...words])
  expect(stderr).toContain(sentence)
  expect(code).toBe(2)
})

describe('a deployment with several regions', () => {
  test('with several regions, each database is created at its own location, gets its tables, and is bound to the Worker', async () => {
    const deployment = new Deployment()
    const { said } = await deployment.deploy(twoRegions)
    expect(said[2]).toMatch(/^Created oncekey in WEUR\.\n {6}Created oncekey-apac in APAC\.\n/)
    expect(deployment.runs.slice(0, 2)).toEqual([
      'd1 migrations apply oncekey --remote',
      'd1 migrations apply oncekey-apac --remote',
    ])
    const [first, second] = deployment.cloudflare.databases.map(({ described }) => described.uuid)
    const bindings = deployment.cloudflare.versions.at(-1)?.bindings
    expect(bindings).toContainEqual({ type: 'd1', name: 'DB', id: first })
    expect(bindings).toContainEqual({ type: 'd1', name: 'DB_APAC', id: second })
  })

  test('with several regions, a location without a region digit is refused, and no database is created', async () => {
    const deployment = new Deployment()
    const locations = at({ '': { location: 'weur' } })
    await expect(deployment.deploy({ ...twoRegions, ...locations })).rejects.toThrow(
      'Run: npm run deploy -- --location 0=LOCATION --location 1=LOCATION',
    )
    await expect(deployment.deploy({ ...twoRegions, ...at({ 0: { location: 'weur' } }) })).rejects.toThrow('1=LOCATION')
    expect(deployment.cloudflare.changes).toEqual([])
  })

  test('a second region is added to a deployment, and nothing else changes', async () => {
    const deployment = new Deployment()
    await deployment.deploy()
    const [before] = deployment.cloudflare.databases
    const { said, url, bootstrap } = await deployment.deploy({ ...twoRegions, ...at({ '': { location: 'apac' } }) })
    expect(said[2]).toMatch(/^Found oncekey in WEUR\.\n {6}Created oncekey-apac in APAC\./)
    expect({ url, bootstrap }).toEqual({ url: expect.stringContaining('jane'), bootstrap: null })
    expect(deployment.cloudflare.databases[0]).toBe(before)
  })

  test('a region can be removed only if it has no environments', async () => {
    const deployment = new Deployment()
    await deployment.deploy(twoRegions)
    const database = await deployment.database(1)
    const names = { id: 'env_1', clientId: 'client_1', name: 'staging', createdAt: 1 }
    await createEnvironment(database, names)
    deployment.cloudflare.changes.length = 0
    deployment.runs.length = 0
    await expect(deployment.deploy(plan)).rejects.toThrow(
      /no longer has the database \S+ as region 1 \(binding DB_APAC\), which has environments: staging\. .* Nothing was changed\. Put the region back/,
    )
    expect([...deployment.cloudflare.changes, ...deployment.runs]).toEqual([])
    await database.binding.prepare('DELETE FROM environments').run()
    expect((await deployment.deploy(plan)).said[2]).toBe('Found oncekey in WEUR.')
  })

  test("a region digit can't be moved to another database while its database has environments", async () => {
    const deployment = new Deployment()
    await deployment.deploy()
    const regions = [{ digit: '0', binding: 'DB', databaseName: 'oncekey-new', localId: 'DB' }]
    await expect(deployment.deploy({ regions })).rejects.toThrow('which has environments: production.')
    expect(deployment.cloudflare.databases).toHaveLength(1)
  })
})
