import { readFile, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { serveAt } from '../../src/cli/dev.ts'
import { PortInUse, reasonOfEvent } from '../../src/cli/dev-server.ts'
import { whileLocked } from '../../src/cli/folder-lock.ts'
import { openLocalRegions } from '../../src/cli/local-database.ts'
import { newDatabase } from './databases.ts'
import { newFolder } from './folder.ts'
import { copyProject, type Dev, paste, run, startDev } from './processes.ts'
import { cli } from './terminal.ts'

/** `npm run dev` as processes, on a copy of the project: a newcomer's first minutes, and what can go wrong. */

// Each start bundles the Worker and starts two runtimes.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

interface Ready {
  readonly url: string
  readonly api_key: string
  readonly application: { readonly id: string; readonly client_id: string }
}

interface Served extends Ready {
  readonly regions: readonly (Ready & { readonly region: string })[]
}

/** The surroundings of a command in this process, over the local databases of its state folder. */
const local = { openLocalRegions: (directory: string) => openLocalRegions(directory) }
const state = await newFolder()
let project: string
let dev: Dev
let first: Ready

const call = (apiKey: string, path: string, init: RequestInit = {}) =>
  fetch(first.url + path, { ...init, headers: { Authorization: `Bearer ${apiKey}` } })

beforeAll(async () => {
  project = await copyProject()
})

describe('the first start of npm run dev', () => {
  beforeAll(async () => {
    dev = await startDev(['--port', '0', '--persist-to', state], 'curl -X POST', project)
    const read = (label: string) => new RegExp(`^ +${label} +(\\S+)$`, 'm').exec(dev.stdout())?.[1] as string
    first = {
      url: read('Oncekey'),
      api_key: read('API key'),
      application: { id: read('Application ID'), client_id: read('Client ID') },
    }
  })

  test('on its first start, dev prints a command line that creates a client secret', async () => {
    const line = /^ +(curl .*)$/m.exec(dev.stdout())?.[1] as string
    const { stdout } = await paste(`${line} -s -w '%{http_code}'`)
    expect(stdout).toMatch(/"secret":"cs_0\w{49}"\}201$/)
    expect(dev.stdout() + dev.stderr()).not.toMatch(/wrangler|workerd|telemetry| at /i)
  })

  test('on its first start, dev uses its own URL as the issuer', async () => {
    for (const path of ['/healthz', '/readyz']) expect((await fetch(first.url + path)).status).toBe(200)
    const metadata = await fetch(`${first.url}/.well-known/oauth-authorization-server`)
    expect(await metadata.json()).toMatchObject({ issuer: first.url })
  })

  test('even on its first start, dev does not serve wrangler’s SQL console, and stores no request URLs', async () => {
    await fetch(`${first.url}/connect/applications?client_secret=cs_0leaked`)
    for (const path of [
      '/cdn-cgi/explorer',
      '/cdn-cgi/explorer/api/d1/database',
      '/cdn-cgi/explorer/api/d1/database/DB/raw',
    ]) {
      expect((await fetch(first.url + path)).status, path).toBe(404)
    }
    const { stdout } = await paste(`grep -rl cs_0leaked ${state} || true`)
    expect(stdout).toBe('')
  })

  test('on its first start, dev makes its state files readable only for the current user', async () => {
    for (const [name, mode] of [
      ['v3', 0o700],
      ['.dev.json', 0o600],
      ['.signing-key.json', 0o600],
    ] as const) {
      expect((await stat(join(state, name))).mode & 0o777, name).toBe(mode)
    }
    const { stdout } = await paste(`find ${join(state, 'v3')} -type f -perm /077`)
    expect(stdout).toBe('')
    expect(await readFile(join(state, '.dev.json'), 'utf8')).toContain(first.api_key)
    expect(
      (
        await paste(
          'git check-ignore --no-index .dev.json .dev-1.json .dev.pid .in-use.lock .regions.json .signing-key.json v3/x',
        )
      ).stdout.split('\n'),
    ).toHaveLength(8)
  })

  test('npm run dev accepts an API key that another command creates, and refuses it once it is revoked', async () => {
    const words = ['--environment', 'development', '--persist-to', state, '--json']
    const created = await run(['api-key', 'create', '--name', 'ci', '--access', 'write', ...words], { cwd: project })
    expect(created.stderr).not.toContain('    at ')
    const { id, api_key } = JSON.parse(created.stdout)
    expect((await call(api_key, '/connect/applications')).status).toBe(200)
    const revoked = await cli(['api-key', 'revoke', id, '--persist-to', state, '--json'], local)
    expect(revoked.json.last_used_at).toMatch(/Z$/)
    expect((await call(api_key, '/connect/applications')).status).toBe(401)
  })

  test('npm run dev keeps serving while wrangler.toml is invalid, and prints the error', async () => {
    const path = join(project, 'wrangler.toml')
    const valid = await readFile(path, 'utf8')
    const ready = async () => (await fetch(`${first.url}/readyz`)).status
    await writeFile(path, valid.replace(/^ACCESS_TOKEN_TTL_SECONDS = .*$/m, 'ACCESS_TOKEN_TTL_SECONDS = 3'))
    await dev.says('ACCESS_TOKEN_TTL_SECONDS is 3. It must be a whole number from 60 to 86400 (wrangler.toml).')
    expect(await ready()).toBe(200)
    await writeFile(path, `${valid}\nname = "half`)
    await dev.says('is invalid: ')
    expect(dev.stderr().match(/The Worker still runs with the last valid configuration\./g)).toHaveLength(2)
    expect(await ready()).toBe(200)
    await writeFile(path, valid.replace(/^ACCESS_TOKEN_TTL_SECONDS = .*$/m, 'ACCESS_TOKEN_TTL_SECONDS = 600'))
    await dev.says('Reloaded.')
    expect(await ready()).toBe(200)
    await writeFile(path, valid)
  })

  test('a second npm run dev says that another process uses the same state folder or port', async () => {
    const port = new URL(first.url).port
    const taken = await run(['dev', '--port', port, '--persist-to', state], { cwd: project })
    expect(taken.stderr).toBe(
      `Port ${port} is in use. \`npm run dev\` (process ${dev.pid()}) uses the same state at ${first.url}. Stop it, or choose another port with --port.\n`,
    )
    expect(taken).toMatchObject({ code: 1, stdout: '' })
    const second = await startDev(['--port', '0', '--persist-to', state, '--json'], '\n', project)
    expect(second.stderr()).toContain(`\`npm run dev\` (process ${dev.pid()}) uses the same state at ${first.url}.`)
    expect(second.stdout()).toMatch(/^.+\n$/)
    expect(JSON.parse(second.stdout())).toEqual({ ...first, url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) })
    expect(await second.end('SIGINT', 'all')).toEqual([])
  })

  test('recover is refused while npm run dev runs', async () => {
    const words = ['--to', '2026-01-01T00:00:00Z', '--from', 'copy.sqlite', '--persist-to', state]
    const { code, stdout, stderr } = await run(['recover', ...words], { cwd: project })
    expect(stderr).toContain(
      `\`npm run dev\` (process ${dev.pid()}) uses the same state at ${first.url}. Nothing was changed. Stop that process first.`,
    )
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  })

  test('SIGTERM to npm ends every process of npm run dev', async () => {
    expect(await dev.end('SIGTERM')).toEqual([])
    await expect(fetch(first.url)).rejects.toThrow()
  })
})

describe('two first starts of npm run dev at once, with two regions', () => {
  let folder: string
  let both: readonly [Dev, Dev]
  let one: Served
  let other: Served

  /** Two runtimes on one file can lock each other out for a moment, which is a 503 that says to try again. */
  const patiently = (look: () => Promise<void>) => vi.waitFor(look, { timeout: 60_000, interval: 200 })

  beforeAll(async () => {
    folder = await newFolder()
    const words = ['--regions', '2', '--port', '0', '--persist-to', folder, '--json']
    both = await Promise.all([startDev(words, '\n', project), startDev(words, '\n', project)])
    for (const { stdout } of both) expect(stdout()).toMatch(/^.+\n$/)
    ;[one, other] = both.map(({ stdout }) => JSON.parse(stdout())) as [Served, Served]
  })

  test('both processes serve, and within each region both accept the same API key', async () => {
    const keysOf = ({ regions }: Served) => regions.map((region) => ({ ...region, url: '' }))
    expect(keysOf(one)).toEqual(keysOf(other))
    for (const { url, api_key, application } of [...one.regions, ...other.regions]) {
      const path = `${url}/connect/applications/${application.id}`
      await patiently(async () => {
        const response = await fetch(path, { headers: { Authorization: `Bearer ${api_key}` } })
        expect(response.status).toBe(200)
      })
    }
  })

  test('--regions 2 creates two databases, with an environment, an API key and an application in each', async () => {
    const { url, api_key, application, regions } = one
    expect(regions).toMatchObject([
      { region: '0', url, api_key, application },
      { region: '1', url },
    ])
    expect(regions.map((region) => region.api_key.slice(0, 4))).toEqual(['sk_0', 'sk_1'])
    await patiently(async () =>
      expect(await (await fetch(`${url}/readyz`)).json()).toMatchObject({
        regions: [
          { region: '0', binding: 'DB', status: 'ok' },
          { region: '1', binding: 'DB_LOCAL_1', status: 'ok' },
        ],
      }),
    )
    const { json } = await cli(['environment', 'list', '--persist-to', folder, '--json'], local)
    expect(json).toMatchObject([
      { name: 'development', region: '0' },
      { name: 'development-1', region: '1' },
    ])
  })

  test('each server ends when its process is killed, or when npm gets SIGTERM', async () => {
    expect(await both[0].end('SIGKILL', 'server')).toEqual([])
    await expect(fetch(one.url)).rejects.toThrow()
    expect(await both[1].end('SIGTERM')).toEqual([])
  })
})

test.each(['0', '11', 'two', '0x2', '2.0'])('--regions %s is a usage error', async (count) => {
  const { code, stderr } = await cli(['dev', '--regions', count])
  expect(stderr).toContain('--regions must be a number from 1 to 10.')
  expect(code).toBe(2)
})

test('if two processes start at once, the second one waits for the first one’s lock', async () => {
  const file = join(await newFolder(), '.dev.json')
  const steps: string[] = []
  const begun = Promise.withResolvers<void>()
  const go = Promise.withResolvers<void>()
  const first = whileLocked(file, async () => {
    begun.resolve()
    await go.promise
    steps.push('first')
  })
  await begun.promise
  const second = whileLocked(file, async () => steps.push('second'))
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(steps).toEqual([])
  go.resolve()
  await Promise.all([first, second])
  expect(steps).toEqual(['first', 'second'])
})

test('a process that fails to start releases its lock', async () => {
  const file = join(await newFolder(), '.dev.json')
  await expect(whileLocked(file, () => Promise.reject(new Error('full disk')))).rejects.toThrow('full disk')
  expect(await whileLocked(file, async () => 'started')).toBe('started')
})

test('with an invalid setting, dev reports the setting and serves nothing, with exit code 1', async () => {
  const folder = await newFolder()
  await writeFile(join(project, '.dev.vars'), 'EVENT_RETENTION_DAYS=forever\n')
  const invalid = await run(['dev', '--port', '0', '--persist-to', folder], { cwd: project })
  await writeFile(join(project, '.dev.vars'), '')
  expect(invalid).toEqual({
    code: 1,
    stdout: '',
    stderr:
      'EVENT_RETENTION_DAYS is "forever". It must be a whole number from 1 to 3650 (.dev.vars).\nThe Worker was not started.\n',
  })
})

test('with a damaged signing key, dev reports the key and serves nothing, with exit code 1', async () => {
  const folder = await newFolder()
  await writeFile(join(folder, '.signing-key.json'), '{}', { mode: 0o600 })
  const surroundings = { database: await newDatabase() }
  const { code, stdout, stderr } = await cli(['dev', '--port', '0', '--persist-to', folder], surroundings)
  expect(stderr).toContain('.signing-key.json has no usable signing key. Nothing was changed.')
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
})

describe('a free port that another program takes before the Worker listens', () => {
  const failing = (times: number) => {
    const tried: number[] = []
    const serve = async (port: number) => {
      tried.push(port)
      if (tried.length <= times) throw new PortInUse(`Port ${port} is in use.`)
    }
    return { tried, serve }
  }

  test('if another program takes the free port before the Worker listens, dev tries another port', async () => {
    const { tried, serve } = failing(2)
    expect(await serveAt(1, serve, true)).toBe(tried[2])
    expect(new Set(tried).size).toBe(3)
  })

  test('dev fails after three ports that were taken, and immediately if the operator chose the port', async () => {
    await expect(serveAt(1, failing(3).serve, true)).rejects.toThrow(PortInUse)
    const chosen = failing(1)
    await expect(serveAt(1, chosen.serve, false)).rejects.toThrow(PortInUse)
    expect(chosen.tried).toEqual([1])
  })
})

test('a port that another program uses is reported with exit code 1', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const { code, stderr } = await cli(['dev', '--port', String(port), '--persist-to', state])
  server.close()
  expect(stderr).toBe(
    `Port ${port} is in use. Stop the program that listens there, or choose another port with --port.\n`,
  )
  expect(code).toBe(1)
})

test.each([
  [new Error('Address already in use (127.0.0.1:8787)'), 'Address already in use (127.0.0.1:8787).'],
  [
    {
      type: 'error',
      reason: 'Error resolving config after change',
      cause: new Error('Invalid\n  TOML'),
      source: 'ConfigController',
    },
    'Error resolving config after change: Invalid TOML.',
  ],
  [{ reason: 'Failed to start', cause: { name: 'Error', message: 'spawn ENOENT.' } }, 'Failed to start: spawn ENOENT.'],
  [{ type: 'error' }, 'wrangler gave no reason.'],
])('the error message is taken from wrangler’s event %o', (event, sentence) => {
  expect(reasonOfEvent(event)).toBe(sentence)
})
