import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, inject, test, vi } from 'vitest'
import { compileCacheFolder, reasonOf } from '../../src/cli/wrangler.ts'
import { size } from '../sizes.ts'
import { startCloudflare } from './cloudflare-server.ts'
import { newFolder } from './folder.ts'
import { copyProject, paste, run, startCommand } from './processes.ts'

/** Commands as processes, with the real wrangler, against a stand-in for Cloudflare. */

vi.setConfig({ testTimeout: 180_000 })

describe('the folder of compiled code, which other users must not be able to change', () => {
  test('the folder of compiled code is in the project, and no other user can write to it', async () => {
    const project = await newFolder()
    const folder = compileCacheFolder(project)
    expect(folder).toBe(join(project, 'compile-cache'))
    expect((await stat(folder as string)).mode & 0o777).toBe(0o700)
    expect(compileCacheFolder(project)).toBe(folder)
  })

  test('the folder of compiled code is not used if other users can write to it, or if it is a link or cannot be created', async () => {
    const open = await newFolder()
    await mkdir(join(open, 'compile-cache'))
    await paste(`chmod 777 '${join(open, 'compile-cache')}'`)
    expect(compileCacheFolder(open)).toBeUndefined()
    const linked = await newFolder()
    await symlink(open, join(linked, 'compile-cache'))
    expect(compileCacheFolder(linked)).toBeUndefined()
    expect(compileCacheFolder('/dev/null')).toBeUndefined()
  })
})

test('deploy --dry-run lists the steps and builds the Worker, without a network and without a login', async () => {
  // No server listens at this address.
  const env = { CLOUDFLARE_API_BASE_URL: 'http://127.0.0.1:9', HTTPS_PROXY: 'http://127.0.0.1:9' }
  const { code, stdout, stderr } = await run(['deploy', '--dry-run', '--jurisdiction', 'eu'], { env })
  const lines = stderr.split('\n')
  expect(lines.slice(0, 9).every((line, i) => line.startsWith(`[${i + 1}/9] `))).toBe(true)
  expect(lines.slice(9)).toEqual([
    'Region 0: database oncekey, location if it must be created: eu',
    'Host: oncekey on workers.dev',
    'Issuer of tokens: the URL that the first deployment gets',
    expect.stringMatching(/^Rate limit MANAGEMENT_CALLS: namespace \d+$/),
    expect.stringMatching(/^Rate limit FAILED_AUTHENTICATIONS: namespace \d+$/),
    expect.stringMatching(
      /^Not checked, because that needs your Cloudflare account: .*, the database, and the deployed version\. /,
    ),
    'Building the Worker…',
    '',
  ])
  expect(stdout).toMatch(/^Nothing was deployed\. The Worker builds\. Total Upload: \S+ KiB \/ gzip: \S+ KiB\n$/)
  expect(code).toBe(0)
})

test('deploy, with and without --dry-run, reports an invalid setting before it uploads anything', async () => {
  const project = await copyProject()
  const path = join(project, 'wrangler.toml')
  const text = await readFile(path, 'utf8')
  await writeFile(path, text.replace(/^ISSUER = .*$/m, 'ISSUER = "https://secrets.example.com/"'))
  const { cloudflare, url } = await startCloudflare()
  const env = { CLOUDFLARE_API_BASE_URL: url, CLOUDFLARE_API_TOKEN: 'token' }
  for (const words of [['deploy'], ['deploy', '--dry-run']].slice(0, size(1, 2))) {
    const { code, stdout, stderr } = await run(words, { cwd: project, env })
    expect(stderr).toMatch(
      /^ISSUER is "https:\/\/secrets\.example\.com\/"\. It must be .* \(wrangler\.toml\)\.\nNothing was deployed\.\n$/,
    )
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  }
  expect(cloudflare.changes).toEqual([])
})

test('deploy without a Cloudflare login says how to log in, and ends with exit code 1', async () => {
  const home = await newFolder()
  const env = { HOME: home, XDG_CONFIG_HOME: home }
  for (const words of [
    ['deploy', '--json'],
    ['api-key', 'list', '--remote'],
  ].slice(0, size(1, 2))) {
    const { code, stdout, stderr } = await run(words, { env })
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
])('wrangler’s error “%s” is read as a missing login: %s', (words, isLogin) => {
  const reason = reasonOf({ code: 1, stdout: '', stderr: `\n✘ [ERROR] ${words}\n\n\n` })
  expect(reason.startsWith('You are not logged in')).toBe(isLogin)
})

test('the real wrangler uploads a first deployment, one with a new domain, and a gradual one', async () => {
  const cwd = await copyProject()
  const { cloudflare, url } = await startCloudflare()
  const redirect = `const { fetch } = globalThis
    const worker = /^https:..(oncekey.jane.workers.dev|secrets.example.com)/
    globalThis.fetch = (url, options) => fetch(String(url).replace(worker, '${url}'), options)`
  const env = {
    CLOUDFLARE_API_BASE_URL: url,
    CLOUDFLARE_API_TOKEN: 'token',
    // The stand-in answers the requests to the Worker, because no Worker is deployed.
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(redirect)}`,
  }
  const first = await run(['deploy', '--location', 'weur'], { env, cwd })
  expect(first.stderr.split('\n').slice(0, -3)).toEqual([
    '[1/9] Check the login to Cloudflare…',
    '      Logged in as jane@example.com, account Jane’s account.',
    '[2/9] Check the URL of the Worker, and what is deployed there…',
    '      The URL is https://oncekey.jane.workers.dev.',
    '[3/9] Find or create the database oncekey…',
    '      Created oncekey in WEUR.',
    "      The location of a database can't be changed later.",
    '[4/9] Bring the tables up to date…',
    expect.stringMatching(/^ {6}oncekey: applied 0001_management\.sql, 0002_fewer_rows\.sql/),
    '[5/9] Create a signing key, unless the Worker has one…',
    '      Created. The next step sets it.',
    '[6/9] Deploy the Worker oncekey…',
    '      Deployed version 00000000-0000-4000-8000-000000000003.',
    '[7/9] Wait until the Worker is ready…',
    '      Ready, with version 00000000-0000-4000-8000-000000000003.',
    '[8/9] Turn off workers.dev, if the Worker has its own domain…',
    '      The Worker has no other domain.',
    '[9/9] Create the environment production and its first API key, unless they exist…',
  ])
  expect(first.stderr).toContain('Could not reach the deployed database: ')
  expect(first.stderr).toMatch(/\nRun `npm run deploy` again: it continues from this step\.\n$/)
  expect(first.code).toBe(1)
  expect(JSON.parse(cloudflare.secrets.SIGNING_KEY ?? '{}')).toMatchObject({ alg: 'RS256', d: expect.any(String) })
  expect(cloudflare.addresses).toEqual({ enabled: true, previews_enabled: false })
  const d1 = cloudflare.versions[0]?.bindings.find(({ name }) => name === 'DB')
  expect(d1).toMatchObject({ type: 'd1', id: cloudflare.databases[0]?.described.uuid })
  expect(cloudflare.valuesOf('ISSUER')).toEqual(Array(3).fill('https://oncekey.jane.workers.dev'))
  expect(first.stderr + first.stdout).not.toContain('"d":')

  // Each deployment takes seconds: the short run leaves the others to the stand-in for wrangler.
  if (!inject('isLong')) return
  const path = join(cwd, 'wrangler.toml')
  const text = await readFile(path, 'utf8')
  const routes = 'routes = [{ pattern = "secrets.example.com", custom_domain = true }]'
  const issuer = 'ISSUER = "https://secrets.example.com"'
  await writeFile(path, `${routes}\n${text.replace(/^ISSUER = .*$/m, issuer)}`)
  const second = await run(['deploy', '--location', 'weur'], { env, cwd })
  expect(second.stderr).toContain(
    '      Found oncekey in WEUR.\n[4/9] Bring the tables up to date…\n      oncekey was up',
  )
  expect(second.stderr).toContain('own domain…\n      Turned off.\n')
  expect(cloudflare.databases).toHaveLength(1)
  expect(cloudflare.domains).toEqual({ 'secrets.example.com': 'oncekey' })
  expect(cloudflare.addresses).toEqual({ enabled: false, previews_enabled: false })
  expect(cloudflare.valuesOf('ISSUER').at(-1)).toBe('https://secrets.example.com')
  expect(second.stderr + second.stdout).not.toContain('"d":')

  const { serving } = cloudflare
  const third = await run(['deploy', '--gradual', '--json'], { env, cwd })
  expect({ stderr: third.stderr, code: third.code }).toMatchObject({ code: 0 })
  const { id = '', bindings } = cloudflare.versions.at(-1) ?? {}
  expect(JSON.parse(third.stdout)).toEqual({ version_id: id, serving_version_id: serving[0]?.version_id })
  expect(cloudflare.serving).toEqual(serving)
  expect(bindings?.find(({ name }) => name === 'DB')).toEqual(d1)
})

test('Ctrl-C while the signing key is uploaded leaves no file with the key', async () => {
  const { cloudflare, url } = await startCloudflare()
  const temporary = await newFolder()
  const env = { CLOUDFLARE_API_BASE_URL: url, CLOUDFLARE_API_TOKEN: 'token', TMPDIR: temporary }
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
