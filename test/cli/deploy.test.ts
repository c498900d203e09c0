import { expect, test } from 'vitest'
import { startCloudflare } from './cloudflare.ts'
import { newFolder, run } from './processes.ts'

/** `npm run deploy` as a process, with the real wrangler. What it does in which order, deployment.test.ts tells. */

test('--dry-run shows every step, builds the Worker, and needs no network and no login', async () => {
  // Nobody listens there.
  const offline = { CLOUDFLARE_API_BASE_URL: 'http://127.0.0.1:9', HTTPS_PROXY: 'http://127.0.0.1:9' }
  const { code, stdout, stderr } = await run('deploy', ['--dry-run', '--jurisdiction', 'eu'], offline)
  expect(stderr).toMatch(/^\[1\/7\] Check the login to Cloudflare\n\[2\/7\] .* in eu\n(\[\d\/7\] .*\n){5}Building/)
  expect(stdout).toMatch(/^Nothing was done. The Worker builds. Total Upload: \S+ KiB \/ gzip: \S+ KiB\n$/)
  expect(code).toBe(0)
})

test('no login: what to do, and exit code 1', async () => {
  const home = await newFolder()
  const nobody = { HOME: home, XDG_CONFIG_HOME: home }
  const [deploy, list] = await Promise.all([
    run('deploy', ['--json'], nobody),
    run('api-key', ['list', '--remote'], nobody),
  ])
  for (const { code, stdout, stderr } of [deploy, list]) {
    expect(stderr).toContain(
      'You are not logged in to Cloudflare. Run `npx wrangler login`, or set CLOUDFLARE_API_TOKEN.',
    )
    expect(stdout).toBe('')
    expect(code).toBe(1)
  }
})

test('wrangler does what each step asks of it', async () => {
  const cloudflare = await startCloudflare()
  const ready = `globalThis.fetch = async () => Response.json({ version: '${process.env.npm_package_version ?? '0.1.0'}' })`
  const env = {
    CLOUDFLARE_API_BASE_URL: cloudflare.url,
    CLOUDFLARE_API_TOKEN: 'token',
    // For the Worker that was not deployed.
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(ready)}`,
  }
  const first = await run('deploy', [], env)
  expect(first.stderr.split('\n').slice(0, -3)).toEqual([
    '[1/7] Check the login to Cloudflare…',
    '      You are jane@example.com, in the account Jane’s account.',
    '[2/7] Find the database oncekey, or make it…',
    '      It is made.',
    '[3/7] Bring its tables up to date…',
    '      They are now.',
    '[4/7] Make the key that signs its tokens, unless it has one…',
    '      It is made, and goes along with the Worker.',
    '[5/7] Deploy the Worker oncekey…',
    '      It is at https://oncekey.jane.workers.dev',
    '[6/7] Ask it whether it is ready…',
    '      It is, with version 0.1.0.',
    '[7/7] Make the environment production and its first API key, unless it has one…',
  ])
  expect(first.stderr).toContain('The deployed database cannot be reached: ')
  expect(first.stderr).toMatch(/\nThen run `npm run deploy` again: it goes on from here.\n$/)
  expect(first.code).toBe(1)
  expect(cloudflare.changes).toContain('POST /d1/database')
  expect(cloudflare.uploads).toHaveLength(2)

  cloudflare.changes.length = 0
  cloudflare.refused = 'POST /workers/scripts/oncekey/deployments'
  const second = await run('deploy', [], env)
  expect(second.stderr).toContain('      It is there: 11111111-2222-3333-4444-555555555555.\n')
  expect(second.stderr).toContain('      They are.\n')
  expect(second.stderr).toContain('      It has one.\n')
  expect(second.stderr).toMatch(
    /\nThe Worker could not be deployed: .*You may not do that.*\n.* it goes on from here.\n$/,
  )
  expect(cloudflare.changes).not.toContain('POST /d1/database')
  expect(cloudflare.uploads).toHaveLength(3)

  const [before, ...after] = cloudflare.uploads.map((bindings) => bindings.find(({ name }) => name === 'ISSUER')?.text)
  expect([before, ...after]).toEqual(['', ...Array(2).fill('https://oncekey.jane.workers.dev')])
  const keys = cloudflare.uploads.map((bindings) => bindings.find(({ name }) => name === 'SIGNING_KEY'))
  expect(keys[0]).toMatchObject({ type: 'secret_text', text: expect.stringContaining('"alg":"RS256"') })
  const d1 = cloudflare.uploads[0]?.find(({ name }) => name === 'DB')
  expect(d1).toMatchObject({ type: 'd1', id: '11111111-2222-3333-4444-555555555555' })
  expect(first.stderr + first.stdout + second.stderr + second.stdout).not.toContain('"d":')
}, 180_000)
