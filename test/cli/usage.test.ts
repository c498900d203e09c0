import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { size } from '../sizes.ts'
import { environmentAt, startCloudflare } from './cloudflare-server.ts'
import { newDatabase } from './databases.ts'
import { copyProject, run } from './processes.ts'
import { cli } from './terminal.ts'

vi.setConfig({ testTimeout: 120_000 })

const environment = newId('env', Date.now())

describe('usage, with the real wrangler against a stand-in for Cloudflare', async () => {
  const cwd = await copyProject()
  const path = join(cwd, 'wrangler.toml')
  const commented = /^# (?=\[\[analytics_engine_datasets|binding = "USAGE|dataset = )/gm
  await writeFile(path, (await readFile(path, 'utf8')).replace(commented, ''))
  const { cloudflare, url } = await startCloudflare()
  const deployed = await cloudflare.addDatabase('oncekey')
  Object.assign(deployed, { d1: await newDatabase() })
  await deployed.d1
    .prepare("INSERT INTO environments (id, client_id, name, created_at) VALUES (?, 'client_1', 'production', 1)")
    .bind(environment)
    .run()
  const env = { CLOUDFLARE_API_BASE_URL: url, CLOUDFLARE_API_TOKEN: 'token' }
  // An ID needs no deployed database.
  const usage = (...words: string[]) => run(['usage', '--environment', environment, ...words], { cwd, env })
  const usageByName = () => run(['usage', '--environment', 'production'], { cwd, env: environmentAt(url) })

  test('usage shows what each application did, the busiest first, and the sum', async () => {
    cloudflare.usage = [
      { application_id: 'conn_app_1', token: '12000', introspection: 3, create: 1, refused: 0, all_operations: 12004 },
      { application_id: 'conn_app_2', token: 0, introspection: 0, create: 0, refused: 7, all_operations: 7 },
    ]
    const { code, stdout } = await usageByName()
    expect(stdout.split('\n')).toEqual([
      'APPLICATION  TOKENS  INTROSPECTIONS  CREATED SECRETS  REFUSED',
      'conn_app_1   12,000  3               1                0',
      'conn_app_2   0       0               0                7',
      'All          12,000  3               1                7',
      '',
    ])
    expect(code).toBe(0)
    expect(cloudflare.queries.at(-1)).toContain(`FROM oncekey_usage WHERE index1 = '${environment}'`)
    expect(cloudflare.changes).toEqual([])
    const { stdout: line } = await usage('--json', '--days', '7')
    expect(JSON.parse(line)).toEqual({
      environment_id: environment,
      days: 7,
      applications: [
        { application_id: 'conn_app_1', token: 12_000, introspection: 3, create: 1, refused: 0 },
        { application_id: 'conn_app_2', token: 0, introspection: 0, create: 0, refused: 7 },
      ],
      total: { token: 12_000, introspection: 3, create: 1, refused: 7 },
    })
    expect(cloudflare.queries.at(-1)).toContain("INTERVAL '7' DAY")
  })

  test('usage names the permission that a refused token lacks', async () => {
    cloudflare.refused = 'POST /analytics_engine/sql'
    const { code, stdout, stderr } = await usage()
    cloudflare.refused = ''
    expect(stderr).toContain('an API token with the permission Account Analytics Read')
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  })

  test.runIf(size(0, 1) === 1)('usage passes on any other reason of Cloudflare', async () => {
    cloudflare.broken = 'POST /analytics_engine/sql'
    const { code, stderr } = await usage()
    expect(stderr).toContain('Could not read the usage: Cloudflare refused: The platform said no [code: 10001].')
    expect(code).toBe(1)
  })
})

test('usage without a dataset in wrangler.toml says how to count usage', async () => {
  const { code, stderr } = await cli(['usage', '--environment', environment])
  expect(stderr).toContain('wrangler.toml has no Analytics Engine dataset with the binding USAGE')
  expect(code).toBe(1)
})

test.each(['0', '91', '1.5', 'x'])('--days %s is refused', async (days) => {
  const { code, stderr } = await cli(['usage', '--environment', environment, '--days', days])
  expect(stderr).toContain('--days must be a whole number from 1 to 90.')
  expect(code).toBe(2)
})
