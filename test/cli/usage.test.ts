import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { showUsage } from '../../src/cli/usage.ts'
import { newId } from '../../src/credential/id.ts'
import { size } from '../sizes.ts'
import { environmentAt, startCloudflare } from './cloudflare-server.ts'
import { newDatabase } from './databases.ts'
import { Deployment } from './deployment.ts'
import { copyProject, run } from './processes.ts'
import { cli, contextOf } from './terminal.ts'

vi.setConfig({ testTimeout: 120_000 })

const environment = newId('env', Date.now())

const APPLICATIONS = [
  { application_id: 'conn_app_1', token: '12000', introspection: 3, create: 1, refused: 0, all_operations: 12004 },
  { application_id: 'conn_app_2', token: 0, introspection: 0, create: 0, refused: 7, all_operations: 7 },
]

/** Credentials for which `login` starts wrangler. */
const GLOBAL_KEY = { CLOUDFLARE_API_KEY: 'key', CLOUDFLARE_EMAIL: 'jane@example.com' }

test('usage shows the operations of each application, with the real wrangler and a simulated Cloudflare API', async () => {
  const cwd = await copyProject()
  const path = join(cwd, 'wrangler.toml')
  const commented = /^# (?=\[\[analytics_engine_datasets|binding = "USAGE|dataset = )/gm
  await writeFile(path, (await readFile(path, 'utf8')).replace(commented, ''))
  const { cloudflare, url } = await startCloudflare()
  cloudflare.usage = APPLICATIONS
  const deployed = await cloudflare.addDatabase('oncekey')
  Object.assign(deployed, { d1: await newDatabase() })
  await deployed.d1
    .prepare("INSERT INTO environments (id, client_id, name, created_at) VALUES (?, 'client_1', 'production', 1)")
    .bind(environment)
    .run()
  // With the environment's ID, usage opens no database. Each process takes seconds: the short run has only the name.
  const ways: [name: string, env: Record<string, string>][] = [
    ['production', { ...environmentAt(url), CLOUDFLARE_API_TOKEN: '', ...GLOBAL_KEY }],
    [environment, { CLOUDFLARE_API_BASE_URL: url, CLOUDFLARE_API_TOKEN: 'token' }],
  ]
  for (const [name, env] of ways.slice(0, size(1, 2))) {
    const { code, stdout } = await run(['usage', '--environment', name, '--json', '--days', '7'], { cwd, env })
    expect(JSON.parse(stdout)).toEqual({
      environment_id: environment,
      days: 7,
      applications: [
        { application_id: 'conn_app_1', token: 12_000, introspection: 3, create: 1, refused: 0 },
        { application_id: 'conn_app_2', token: 0, introspection: 0, create: 0, refused: 7 },
      ],
      total: { token: 12_000, introspection: 3, create: 1, refused: 7 },
    })
    expect(code).toBe(0)
    expect(cloudflare.queries.at(-1)).toContain(`FROM oncekey_usage WHERE index1 = '${environment}'`)
    expect(cloudflare.queries.at(-1)).toContain("INTERVAL '7' DAY")
  }
  expect(cloudflare.changes).toEqual([])
})

/** The usage of 30 days, as text. */
async function show({ cloudflare, platform }: Deployment) {
  const { context, output } = contextOf()
  const account = await platform.login(undefined)
  await showUsage(context, account, { dataset: 'oncekey_usage', environmentId: environment, days: 30, isJson: false })
  return { ...output, queries: cloudflare.queries }
}

test('usage shows the application with the most operations first, and the totals last', async () => {
  const deployment = new Deployment()
  deployment.cloudflare.usage = APPLICATIONS
  const { stdout, queries } = await show(deployment)
  expect(stdout.split('\n')).toEqual([
    'APPLICATION  TOKENS  INTROSPECTIONS  CREATED SECRETS  REFUSED',
    'conn_app_1   12,000  3               1                0',
    'conn_app_2   0       0               0                7',
    'All          12,000  3               1                7',
    '',
  ])
  expect(queries.at(-1)).toContain('ORDER BY all_operations DESC')
})

test('npm run usage names the permission that a Cloudflare token lacks, and shows Cloudflare’s reason for any other refusal', async () => {
  const deployment = new Deployment()
  deployment.cloudflare.broken = 'POST /analytics_engine/sql'
  await expect(show(deployment)).rejects.toThrow(
    'Could not read the usage: Cloudflare refused: The platform said no [code: 10001].',
  )
  deployment.cloudflare.refused = 'POST /analytics_engine/sql'
  await expect(show(deployment)).rejects.toThrow('an API token with the permission Account Analytics Read')
})

test('usage without a dataset in wrangler.toml says how to count usage', async () => {
  const { code, stderr } = await cli(['usage', '--environment', environment])
  expect(stderr).toContain('wrangler.toml has no Analytics Engine dataset with the binding USAGE')
  expect(code).toBe(1)
})

test.each(['0', '91', '1.5', 'x'])('usage refuses --days %s', async (days) => {
  const { code, stderr } = await cli(['usage', '--environment', environment, '--days', days])
  expect(stderr).toContain('--days must be a whole number from 1 to 90.')
  expect(code).toBe(2)
})
