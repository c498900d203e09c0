import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import {
  checkDevSettings,
  readConfiguration,
  regionDatabases,
  requireValidSettings,
} from '../../src/cli/configuration.ts'
import { configPath } from '../../src/cli/wrangler.ts'
import { newFolder } from './folder.ts'

let folder: string
let path: string

beforeEach(async () => {
  folder = await newFolder()
  path = join(folder, 'wrangler.toml')
  await copyFile(configPath, path)
})

/** Changes lines of the configuration. */
async function configure(...changes: [from: RegExp, to: string][]): Promise<void> {
  const text = changes.reduce((text, [from, to]) => text.replace(from, to), await readFile(path, 'utf8'))
  await writeFile(path, text)
}

const own = { ISSUER: 'http://127.0.0.1:8787', WEBHOOKS_TO_LOCALHOST: true }

describe('settings of the Worker', () => {
  test('the released wrangler.toml has valid settings', async () => {
    expect(() => requireValidSettings({ vars: {}, databases: [] })).toThrow()
    requireValidSettings(await readConfiguration(path))
    expect(await checkDevSettings(own, [], path)).toEqual([])
  })

  test.each<[string, RegExp, string, string]>([
    [
      'out of bounds',
      /^ACCESS_TOKEN_TTL_SECONDS = .*$/m,
      'ACCESS_TOKEN_TTL_SECONDS = 3',
      'ACCESS_TOKEN_TTL_SECONDS is 3. It must be a whole number from 60 to 86400 (wrangler.toml).',
    ],
    [
      'malformed',
      /^EVENT_RETENTION_DAYS = .*$/m,
      'EVENT_RETENTION_DAYS = "30 days"',
      'EVENT_RETENTION_DAYS is "30 days". It must be a whole number from 1 to 3650 (wrangler.toml).',
    ],
    [
      'of another type',
      /^REQUEST_BUDGET_MS = .*$/m,
      'REQUEST_BUDGET_MS = [5000]',
      'REQUEST_BUDGET_MS is [5000]. It must be',
    ],
    ['missing', /^REQUEST_BUDGET_MS = .*$/m, '', 'REQUEST_BUDGET_MS is missing. It must be'],
    ['reserved', /^CLIENT_SECRET_PREFIX = .*$/m, 'CLIENT_SECRET_PREFIX = "sk"', 'CLIENT_SECRET_PREFIX is "sk".'],
  ])('a setting that is %s is refused by dev and by deploy', async (_, from, to, sentence) => {
    await configure([from, to])
    const configuration = await readConfiguration(path)
    expect(() => requireValidSettings(configuration)).toThrow(sentence)
    expect(() => requireValidSettings(configuration)).toThrow(/\nNothing was deployed\.$/)
    expect((await checkDevSettings(own, [], path)).join('\n')).toContain(sentence)
  })

  test.each([
    'https://secrets.example.com/',
    'secrets.example.com',
    'http://secrets.example.com',
    'https://a.example/b',
  ])('the issuer %s is refused before anything is deployed', async (issuer) => {
    await configure([/^ISSUER = .*$/m, `ISSUER = "${issuer}"`])
    const configuration = await readConfiguration(path)
    expect(() => requireValidSettings(configuration)).toThrow(`ISSUER is "${issuer}". It must be an https origin`)
    // dev has an issuer of its own.
    expect(await checkDevSettings(own, [], path)).toEqual([])
  })

  test('settings in .dev.vars override those in wrangler.toml, and errors name the file', async () => {
    await configure([/^EVENT_RETENTION_DAYS = .*$/m, 'EVENT_RETENTION_DAYS = 0'])
    await writeFile(join(folder, '.dev.vars'), 'ACCESS_TOKEN_TTL_SECONDS=5\nISSUER=nonsense\nOTHER=1\n')
    expect(await checkDevSettings(own, [], path)).toEqual([
      'EVENT_RETENTION_DAYS is 0. It must be a whole number from 1 to 3650 (wrangler.toml).',
      'ACCESS_TOKEN_TTL_SECONDS is "5". It must be a whole number from 60 to 86400 (.dev.vars).',
    ])
    await writeFile(join(folder, '.dev.vars'), 'EVENT_RETENTION_DAYS=30\n')
    expect(await checkDevSettings(own, [], path)).toEqual([])
  })

  test('the error for an invalid setting in .env names .env if there is no .dev.vars', async () => {
    await writeFile(join(folder, '.env'), 'ACCESS_TOKEN_TTL_SECONDS=5\n')
    expect(await checkDevSettings(own, [], path)).toEqual([expect.stringContaining('(.env).')])
  })
})

describe('the setting REGIONS', () => {
  const second = '[[d1_databases]]\nbinding = "DB_WEUR"\ndatabase_name = "oncekey-weur"\n\n[vars]'

  test('the released wrangler.toml gives a request five seconds', async () => {
    expect((await readConfiguration(path)).vars).toMatchObject({ REQUEST_BUDGET_MS: 5_000 })
  })

  test('the released wrangler.toml has one region, in the database of the binding DB', async () => {
    const regions = regionDatabases(await readConfiguration(path))
    expect(regions).toEqual([{ digit: '0', binding: 'DB', databaseName: 'oncekey', localId: 'DB' }])
  })

  test('regions are listed in the order of REGIONS, with the names of their databases', async () => {
    await configure([/^\[vars\]$/m, second], [/^REGIONS = .*$/m, 'REGIONS = "A=DB_WEUR,0=DB"'])
    const configuration = await readConfiguration(path)
    requireValidSettings(configuration)
    expect(await checkDevSettings(own, [], path)).toEqual([])
    expect(regionDatabases(configuration)).toEqual([
      { digit: 'A', binding: 'DB_WEUR', databaseName: 'oncekey-weur', localId: 'DB_WEUR' },
      { digit: '0', binding: 'DB', databaseName: 'oncekey', localId: 'DB' },
    ])
  })

  test.each([
    ['0=DB,1=DB_WEUR', 'REGIONS is "0=DB,1=DB_WEUR" (wrangler.toml), and wrangler.toml has no D1 database DB_WEUR.'],
    ['0=DB,1=ASSETS', 'REGIONS is "0=DB,1=ASSETS" (wrangler.toml), and wrangler.toml has no D1 database ASSETS.'],
    ['DB', 'REGIONS is "DB". It must be DIGIT=BINDING'],
  ])('the value “%s” of REGIONS is refused by deploy and by dev', async (value, sentence) => {
    await configure([/^REGIONS = .*$/m, `REGIONS = "${value}"`])
    const configuration = await readConfiguration(path)
    expect(() => requireValidSettings(configuration)).toThrow(sentence)
    expect(() => regionDatabases(configuration)).toThrow(sentence)
    expect((await checkDevSettings(own, [], path)).join()).toContain(sentence)
  })
})

test.each<[string, string, RegExp]>([
  ['half-written', 'name = "oncekey', /^wrangler\.toml, line 1 is invalid: /],
  ['with a wrong type', 'name = "oncekey"\nvars = 5\n', /^wrangler\.toml is invalid: .*"vars" should be an object/],
  ['empty', '', /^wrangler\.toml has no D1 database with the binding DB and a database_name\. Nothing was changed\.$/],
])('an invalid wrangler.toml is reported with an error message: %s', async (_, text, sentence) => {
  await writeFile(path, text)
  await expect(readConfiguration(path)).rejects.toThrow(sentence)
})

test('wrangler.toml configures logs without request URLs and query strings, and traces of 1 % of the requests', async () => {
  const { unstable_readConfig } = await import('wrangler')
  expect(unstable_readConfig({ config: configPath }).observability).toMatchObject({
    enabled: true,
    redact_query_string: true,
    logs: { enabled: true, invocation_logs: false },
    traces: { enabled: true, head_sampling_rate: 0.01 },
  })
})

test('wrangler.toml configures that fetch uses only public routes, and that old versions have no public URL', async () => {
  const { unstable_readConfig } = await import('wrangler')
  expect(unstable_readConfig({ config: configPath })).toMatchObject({
    compatibility_flags: ['global_fetch_strictly_public'],
    preview_urls: false,
  })
})

test('the usage dataset is read from wrangler.toml once the operator adds it', async () => {
  expect((await readConfiguration(path)).usageDataset).toBeUndefined()
  await configure([/^# (?=\[\[analytics_engine_datasets)/m, ''], [/^# (?=binding = "USAGE")/m, ''])
  expect((await readConfiguration(path)).usageDataset).toBe('USAGE')
  await configure([/^# (?=dataset = )/m, ''])
  expect((await readConfiguration(path)).usageDataset).toBe('oncekey_usage')
  await configure([/oncekey_usage/, 'x; DROP'])
  await expect(readConfiguration(path)).rejects.toThrow('must have letters, digits and underscores only')
})
