import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { type Dev, newFolder, paste, run, startDev } from './processes.ts'

/** `npm run dev`, and the commands beside it, as a newcomer meets them. */

interface Ready {
  readonly url: string
  readonly api_key: string
  readonly application: { readonly id: string; readonly client_id: string }
}

// On a busy machine a process takes its time.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

const folder = await newFolder()
let first: Ready
let curl: string

test('the first start prints what to paste; SIGTERM to npm ends all of it', async () => {
  const dev = await startDev(['--port', '0', '--persist-to', folder], 'curl -X POST')
  const read = (label: string) => new RegExp(`^ +${label} +(\\S+)$`, 'm').exec(dev.stdout())?.[1] as string
  first = {
    url: read('Oncekey'),
    api_key: read('API key'),
    application: { id: read('Application ID'), client_id: read('Client ID') },
  }
  curl = /^ +(curl .*)$/m.exec(dev.stdout())?.[1] as string
  const { stdout } = await paste(`${curl} -s -w '%{http_code}'`)
  expect(stdout).toMatch(/"secret":"cs_0\w{49}"\}201$/)
  expect(await dev.end('SIGTERM')).toEqual([])
  await expect(fetch(first.url)).rejects.toThrow()
  expect(dev.stdout() + dev.stderr()).not.toMatch(/wrangler|workerd|telemetry| at /i)
})

test('the key is kept for the next start, and for its owner alone', async () => {
  const file = join(folder, '.dev.json')
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  expect(await readFile(file, 'utf8')).toContain(first.api_key)
  expect((await paste(`git check-ignore --no-index .dev.json`)).code).toBe(0)
})

describe('a second start', () => {
  let dev: Dev
  let ready: Ready

  beforeAll(async () => {
    dev = await startDev(['--port', '0', '--persist-to', folder, '--json'], '\n')
    ready = JSON.parse(dev.stdout())
  })

  const here = (...args: string[]) => [...args, '--persist-to', folder, '--json']
  const json = async (name: string, ...args: string[]) => {
    const { code, stdout, stderr } = await run(name, here(...args))
    expect(code, stderr).toBe(0)
    expect(stdout).toMatch(/^.+\n$/)
    return JSON.parse(stdout)
  }
  const call = (apiKey: string, method: string, path: string, body?: object) =>
    fetch(ready.url + path, {
      method,
      headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    })
  const m2m = { name: 'Reports', application_type: 'm2m', organization_id: 'org_1' }

  test('shows the same key in one line of JSON', () => {
    expect(dev.stdout()).toBe(`${JSON.stringify(ready)}\n`)
    expect(ready).toEqual({ ...first, url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) })
  })

  test('serves, is well, and tells its version', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8'))
    for (const path of ['/healthz', '/readyz']) {
      const response = await fetch(ready.url + path)
      expect(response.status).toBe(200)
      expect(await response.json()).toEqual({ status: 'ok', version })
    }
    const metadata = await fetch(`${ready.url}/.well-known/oauth-authorization-server`)
    expect(await metadata.json()).toMatchObject({ issuer: ready.url })
  })

  test('a busy port: a sentence, and exit code 1', async () => {
    const { code, stdout, stderr } = await run('dev', ['--port', new URL(ready.url).port, '--persist-to', folder])
    expect(stderr).toBe(
      `Port ${new URL(ready.url).port} is in use. End what listens there, or choose another with --port.\n`,
    )
    expect(stdout).toBe('')
    expect(code).toBe(1)
  })

  test('beside it, keys of two environments do not see each other’s applications', async () => {
    const environment = await json('environment', 'create', '--name', 'staging')
    expect(environment).toEqual({
      id: expect.stringMatching(/^env_\w{26}$/),
      name: 'staging',
      client_id: expect.stringMatching(/^client_\w{26}$/),
    })
    const [made, listed] = await Promise.all([
      json('api-key', 'create', '--environment', 'staging', '--name', 'ci', '--access', 'write'),
      json('environment', 'list'),
    ])
    expect(listed.map(({ name }: { name: string }) => name)).toEqual(['development', 'staging'])
    expect(listed[1]).toMatchObject(environment)
    const response = await call(made.api_key, 'POST', '/connect/applications', m2m)
    expect(response.status).toBe(201)
    const { id } = (await response.json()) as { id: string }
    expect((await call(ready.api_key, 'GET', `/connect/applications/${id}`)).status).toBe(404)
    expect((await call(made.api_key, 'GET', `/connect/applications/${ready.application.id}`)).status).toBe(404)

    const again = await run('environment', here('create', '--name', 'staging'))
    expect(again.stderr).toContain(`There is an environment staging already: ${environment.id}.`)
    expect(again.code).toBe(1)
  })

  test('a read key gets 403 on every write', async () => {
    const { api_key } = await json(
      'api-key',
      ...['create', '--environment', 'development', '--name', 'reader', '--access', 'read'],
    )
    const application = `/connect/applications/${ready.application.id}`
    const { data } = (await (await call(api_key, 'GET', '/connect/applications')).json()) as { data: object[] }
    expect(data).toHaveLength(1)
    const writes: [string, string, object?][] = [
      ['POST', '/connect/applications', m2m],
      ['PUT', application, { name: 'x' }],
      ['DELETE', application],
      ['POST', `${application}/client_secrets`, {}],
      ['DELETE', '/connect/client_secrets/secret_x'],
    ]
    for (const [method, path, body] of writes) {
      expect((await call(api_key, method, path, body)).status, `${method} ${path}`).toBe(403)
    }
  })

  test('a revoked key gets 401 on the next request, and what was revoked is named, with its last use', async () => {
    const { id, api_key } = await json(
      'api-key',
      ...['create', '--environment', 'development', '--name', 'leaked', '--access', 'write'],
    )
    const before = Date.now()
    expect((await call(api_key, 'GET', '/connect/applications')).status).toBe(200)
    const revoked = await run('api-key', ['revoke', '--environment', 'development', '--name', 'leaked', ...here()])
    expect((await call(api_key, 'GET', '/connect/applications')).status).toBe(401)
    expect(JSON.parse(revoked.stdout)).toMatchObject({
      id,
      name: 'leaked',
      environment: 'development',
      access: 'write',
    })
    expect(Date.parse(JSON.parse(revoked.stdout).last_used_at)).toBeGreaterThanOrEqual(before - 1)

    const again = await run('api-key', ['revoke', id, '--persist-to', folder])
    expect(again.stdout).toMatch(
      new RegExp(`^Already revoked: leaked \\(${id}\\), .* in development. It was last used at 20.*Z\\.\\n$`),
    )
    const keys = await run('api-key', ['list', '--environment', 'development', '--persist-to', folder])
    expect(keys.stdout).toMatch(/^development +leaked +write +api_key_\w+ +20\S+Z +20\S+Z$/m)
    expect(keys.stdout).not.toContain(api_key)
  })

  test('what is not there: a sentence that tells where to look, and exit code 1', async () => {
    const [environment, key] = await Promise.all([
      run('api-key', here('create', '--environment', 'nowhere', '--name', 'n', '--access', 'read')),
      run('api-key', here('revoke', 'api_key_nobody')),
    ])
    expect(environment.stderr).toContain('There is no environment nowhere. There is: development')
    expect(key.stderr).toContain('There is no API key api_key_nobody. See: npm run api-key -- list')
    expect([environment.code, key.code]).toEqual([1, 1])
    expect(environment.stdout + key.stdout).toBe('')
  })

  test('commands that write wait for each other, and for it', async () => {
    const name = (i: number) => `many-${i}`
    const made = [0, 1, 2].map((i) => run('environment', here('create', '--name', name(i))))
    const secrets = Array.from({ length: 40 }, () => call(ready.api_key, 'POST', '/connect/applications', m2m))
    for (const { code, stderr } of await Promise.all(made)) expect(code, stderr).toBe(0)
    // Two processes on one file are a matter of this machine alone: D1 has no such 503.
    for (const { status } of await Promise.all(secrets)) expect([201, 503]).toContain(status)
  })

  test('Ctrl-C ends all of it', async () => {
    expect(await dev.end('SIGINT', 'all')).toEqual([])
  })
})

test('a start that was broken off after it had kept the key uses that key', async () => {
  const half = await newFolder()
  await writeFile(join(half, '.dev.json'), await readFile(join(folder, '.dev.json')))
  const dev = await startDev(['--port', '0', '--persist-to', half, '--json'], '\n')
  const { url, api_key } = JSON.parse(dev.stdout())
  expect(api_key).toBe(first.api_key)
  const response = await fetch(`${url}/connect/applications`, { headers: { Authorization: `Bearer ${api_key}` } })
  expect(response.status).toBe(200)
  expect(await dev.end('SIGTERM', 'all')).toEqual([])
})

describe('a state folder that is of no use: a sentence, and exit code 1', () => {
  const start = async (directory: string) => {
    const { code, stdout, stderr } = await run('dev', ['--port', '0', '--persist-to', directory])
    expect(stderr).not.toContain('    at ')
    expect(stdout).toBe('')
    expect(code).toBe(1)
    return stderr
  }

  test('a file is in its place', async () => {
    expect(await start(join(folder, '.dev.json'))).toContain('is no folder, nor can it become one. Name another')
  })

  test('nothing can be written there', async () => {
    expect(await start('/proc/oncekey')).toContain('/proc/oncekey cannot be written to (ENOENT). Name another folder')
  })

  test('the database is none', async () => {
    const databases = join(folder, 'v3/d1/miniflare-D1DatabaseObject')
    const [name = ''] = (await readdir(databases)).filter((file) => /^[0-9a-f]{64}\.sqlite$/.test(file))
    // All of it in the one file, and none in the log beside it.
    const database = new DatabaseSync(join(databases, name))
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    database.close()
    for (const file of await readdir(databases)) if (file.startsWith(`${name}-`)) await rm(join(databases, file))
    const whole = await readFile(join(databases, name))
    await writeFile(join(databases, name), 'no database')
    expect(await start(folder)).toContain('is not a database. Move it away to begin anew, or name another folder')
    await writeFile(join(databases, name), whole.subarray(0, 20_000))
    expect(await start(folder)).toContain('database disk image is malformed')
  })
})

test('a port that is taken by something else', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const { code, stderr } = await run('dev', ['--port', String(port), '--persist-to', folder])
  server.close()
  expect(stderr).toContain(`Port ${port} is in use.`)
  expect(code).toBe(1)
})
