import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { compileCacheFolder, reasonOf } from '../../src/cli/wrangler.ts'
import { startCloudflare } from './cloudflare.ts'
import { newFolder } from './folder.ts'
import { copyProject, paste, run, startCommand } from './processes.ts'

/** Commands as processes, with the real wrangler, against a stand-in for Cloudflare. */

vi.setConfig({ testTimeout: 180_000 })

describe('the folder of compiled code, which runs as this user', () => {
  test('is in the project, and no other user can write to it', async () => {
    const project = await newFolder()
    const folder = compileCacheFolder(project)
    expect(folder).toBe(join(project, 'compile-cache'))
    expect((await stat(folder as string)).mode & 0o777).toBe(0o700)
    expect(compileCacheFolder(project)).toBe(folder)
  })

  test('is not used when another user can write to it, when it is a link, or when it cannot be made', async () => {
    const open = await newFolder()
    await mkdir(join(open, 'compile-cache'))
    await paste(`chmod 777 '${join(open, 'compile-cache')}'`)
    expect(compileCacheFolder(open)).toBeUndefined()
    const linked = await newFolder()
    await symlink(open, join(linked, 'compile-cache'))
    expect(compileCacheFolder(linked)).toBeUndefined()
    expect(compileCacheFolder('/dev/null')).toBeUndefined()
  })

  test('is never the one that all users share', async () => {
    const shared = await newFolder()
    const env = { TMPDIR: shared, NODE_COMPILE_CACHE: undefined }
    const state = await newFolder()
    expect((await run(['environment', 'list', '--persist-to', state], { env })).code).toBe(0)
    expect(await readdir(shared)).not.toContain('node-compile-cache')
  })
})

test('--dry-run checks the settings, shows every step, builds the Worker, and needs no network and no login', async () => {
  // Nothing listens there.
  const env = { CLOUDFLARE_API_BASE_URL: 'http://127.0.0.1:9', HTTPS_PROXY: 'http://127.0.0.1:9' }
  const { code, stdout, stderr } = await run(['deploy', '--dry-run', '--jurisdiction', 'eu'], { env })
  expect(stderr).toMatch(/^\[1\/7\] Check the login to Cloudflare\n\[2\/7\] .* in eu\n(\[\d\/7\] .*\n){5}Building/)
  expect(stdout).toMatch(/^Nothing was deployed\. The Worker builds\. Total Upload: \S+ KiB \/ gzip: \S+ KiB\n$/)
  expect(code).toBe(0)
})

test('an invalid setting is found before anything is uploaded, and by --dry-run', async () => {
  const project = await copyProject()
  const path = join(project, 'wrangler.toml')
  const text = await readFile(path, 'utf8')
  await writeFile(path, text.replace(/^ISSUER = .*$/m, 'ISSUER = "https://secrets.example.com/"'))
  const cloudflare = await startCloudflare()
  const env = { CLOUDFLARE_API_BASE_URL: cloudflare.url, CLOUDFLARE_API_TOKEN: 'token' }
  for (const words of [['deploy', '--dry-run'], ['deploy']]) {
    const { code, stdout, stderr } = await run(words, { cwd: project, env })
    expect(stderr).toMatch(
      /^ISSUER is "https:\/\/secrets\.example\.com\/"\. It must be .* \(wrangler\.toml\)\.\nNothing was deployed\.\n$/,
    )
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  }
  expect(cloudflare.changes).toEqual([])
})

test('without a login: how to log in, and exit code 1', async () => {
  const home = await newFolder()
  const env = { HOME: home, XDG_CONFIG_HOME: home }
  const both = await Promise.all([run(['deploy', '--json'], { env }), run(['api-key', 'list', '--remote'], { env })])
  for (const { code, stdout, stderr } of both) {
    expect(stderr).toContain(
      'You are not logged in to Cloudflare. Run `npx wrangler login`, or set CLOUDFLARE_API_TOKEN.',
    )
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  }
})

test.each([
  ["In a non-interactive environment, it's necessary to set a CLOUDFLARE_API_TOKEN environment variable", true],
  ['Not logged in. Please run `wrangler login` to authenticate.', true],
  ['Not logged in. Could not authenticate because no credentials were found and the environment is…', true],
  [
    'In a non-interactive environment, it is mandatory to specify an account ID, either by assigning its value to',
    false,
  ],
  ['More than one account available but unable to select one in non-interactive mode.', false],
])('“%s” is taken for a missing login: %s', (words, isLogin) => {
  const reason = reasonOf({ code: 1, stdout: '', stderr: `\n✘ [ERROR] ${words}\n\n\n` })
  expect(reason.startsWith('You are not logged in')).toBe(isLogin)
})

test('wrangler does what each step of a deployment asks of it', async () => {
  const cloudflare = await startCloudflare()
  const redirect = `const { fetch } = globalThis
    globalThis.fetch = (url, options) => fetch(String(url).replace(/^https:..oncekey[^/]+/, '${cloudflare.url}'), options)`
  const env = {
    CLOUDFLARE_API_BASE_URL: cloudflare.url,
    CLOUDFLARE_API_TOKEN: 'token',
    // In place of the Worker that was not deployed.
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(redirect)}`,
  }
  const first = await run(['deploy'], { env })
  expect(first.stderr.split('\n').slice(0, -3)).toEqual([
    '[1/7] Check the login to Cloudflare…',
    '      Logged in as jane@example.com, account Jane’s account.',
    '[2/7] Find or create the database oncekey…',
    '      Created.',
    '[3/7] Bring its tables up to date…',
    '      Done.',
    '[4/7] Create a signing key for its tokens, unless it has one…',
    '      Created. The next step sets it.',
    '[5/7] Deploy the Worker oncekey…',
    '      Deployed at https://oncekey.jane.workers.dev',
    '[6/7] Wait until it is ready…',
    '      Ready, with version 00000000-0000-4000-8000-000000000002.',
    '[7/7] Create the environment production and its first API key, unless it has one…',
  ])
  expect(first.stderr).toContain('Could not reach the deployed database: ')
  expect(first.stderr).toMatch(/\nRun `npm run deploy` again: it continues from this step\.\n$/)
  expect(first.code).toBe(1)
  expect(cloudflare.changes).toContain('POST /d1/database')
  expect(cloudflare.uploads).toHaveLength(2)
  expect(JSON.parse(cloudflare.secrets.SIGNING_KEY ?? '{}')).toMatchObject({ alg: 'RS256', d: expect.any(String) })

  cloudflare.changes.length = 0
  cloudflare.refused = 'POST /workers/scripts/oncekey/deployments'
  const second = await run(['deploy'], { env })
  expect(second.stderr).toContain('      Found: 11111111-2222-3333-4444-555555555555.\n')
  expect(second.stderr).toContain('      They were up to date.\n')
  expect(second.stderr).toContain('      It has one.\n')
  expect(second.stderr).toMatch(
    /\nCould not deploy the Worker: .*You may not do that.*\n.* it continues from this step\.\n$/,
  )
  expect(cloudflare.changes).not.toContain('POST /d1/database')
  expect(cloudflare.uploads).toHaveLength(3)

  const issuers = cloudflare.uploads.map((bindings) => bindings.find(({ name }) => name === 'ISSUER')?.text)
  expect(issuers).toEqual(['', ...Array(2).fill('https://oncekey.jane.workers.dev')])
  const d1 = cloudflare.uploads[0]?.find(({ name }) => name === 'DB')
  expect(d1).toMatchObject({ type: 'd1', id: '11111111-2222-3333-4444-555555555555' })
  expect(cloudflare.subdomain).toEqual({ enabled: true, previews_enabled: false })
  expect(first.stderr + first.stdout + second.stderr + second.stdout).not.toContain('"d":')
})

test('Ctrl-C while the signing key is sent leaves it in no file', async () => {
  const cloudflare = await startCloudflare()
  const temporary = await newFolder()
  const env = { CLOUDFLARE_API_BASE_URL: cloudflare.url, CLOUDFLARE_API_TOKEN: 'token', TMPDIR: temporary }
  cloudflare.held = 'PATCH /workers/scripts/oncekey/secrets-bulk'
  const held = new Promise<void>((resolve) => {
    cloudflare.onHeld = resolve
  })
  const create = startCommand(['signing-key', 'create', '--remote'], { env })
  await held
  create.interrupt()
  const { code } = await create.finished
  expect(code).toBe(130)
  const { stdout } = await paste(`grep -rlE '"?kty.*"d.?":' '${temporary}' .wrangler/tmp || true`)
  expect(stdout).toBe('')
})
