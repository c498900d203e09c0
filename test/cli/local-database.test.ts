import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { unstable_splitSqlQuery } from 'wrangler'
import { explainLocal, openLocalRegions, stateFolder } from '../../src/cli/local-database.ts'
import { root } from '../../src/cli/wrangler.ts'
import { createEnvironment, listEnvironments } from '../../src/storage/operator/environments.ts'
import { applyMigrations } from '../../src/storage/operator/migrations.ts'
import { newFolder } from './folder.ts'
import { cli } from './terminal.ts'

/** Opens the only region of a state folder. */
async function openLocalDatabase(folder: string) {
  const { regions, close } = await openLocalRegions(folder)
  return { database: await regions[0].open(), close }
}

const environment = (folder: string, ...words: string[]) =>
  cli(['environment', ...words, '--persist-to', folder, '--json'], {
    openLocalRegions: (directory) => openLocalRegions(directory),
  })

test('two first commands at once create the tables once, and both succeed', async () => {
  const folder = await newFolder()
  const both = await Promise.all([
    environment(folder, 'create', '--name', 'one'),
    environment(folder, 'create', '--name', 'two'),
  ])
  expect(both.map(({ code, stderr }) => ({ code, stderr }))).toEqual(
    Array(2).fill({ code: 0, stderr: 'Opening the local database…\n' }),
  )
  const { json } = await environment(folder, 'list')
  expect(json.map(({ name }: { name: string }) => name).sort()).toEqual(['one', 'two'])
  expect((await stat(join(folder, 'v3'))).mode & 0o777).toBe(0o700)
})

describe('a database of another version', () => {
  /** A state folder with the tables of the first version, changed by a statement, and an environment. */
  const older = async (change = 'SELECT 1') => {
    const folder = await newFolder()
    const { database, close } = await openLocalDatabase(folder)
    const { results } = await database.binding
      .prepare(
        "SELECT name, type FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
      )
      .all()
    await database.binding.batch([
      database.binding.prepare('PRAGMA defer_foreign_keys = on'),
      ...results
        .filter(({ type }) => type === 'view' || type === 'table')
        .sort((a, b) => String(b.type).localeCompare(String(a.type)))
        .map(({ name, type }) => database.binding.prepare(`DROP ${type} ${name}`)),
    ])
    await applyMigrations(database, [await migration('0001_management.sql')])
    const { id, clientId } = { id: 'env_1', clientId: 'client_1' }
    await createEnvironment(database, { id, clientId, name: 'old', createdAt: 1 })
    await database.binding.batch([database.binding.prepare(change)])
    await close()
    return folder
  }
  const migration = async (name: string) => ({
    name,
    statements: unstable_splitSqlQuery(await readFile(join('src/storage/migrations', name), 'utf8')),
  })

  test.each([
    ['as it was released', 'SELECT 1'],
    ['before secret prefixes were recorded', 'ALTER TABLE idempotency_records DROP COLUMN secret_prefix'],
  ])('the first one (%s) is brought up to date, with its data', async (_, change) => {
    const folder = await older(change)
    expect((await environment(folder, 'list')).json).toMatchObject([{ id: 'env_1', name: 'old' }])
    expect((await environment(folder, 'create', '--name', 'new')).code).toBe(0)
  })

  test('one that cannot be brought up to date is refused, and not changed', async () => {
    const folder = await older('ALTER TABLE applications RENAME COLUMN organization_id TO organization')
    for (const _ of [1, 2]) {
      const { code, stderr } = await environment(folder, 'list')
      expect(stderr).toContain(`The database in ${folder} is from a version that cannot be brought up to date (`)
      expect(stderr).toContain('It was not changed. Name another folder with --persist-to.')
      expect(code).toBe(1)
    }
  })

  test('a newer one is refused', async () => {
    const folder = await newFolder()
    const { database, close } = await openLocalDatabase(folder)
    await database.binding.batch([database.binding.prepare('UPDATE schema_version SET version = 1000')])
    await close()
    const { code, stderr } = await environment(folder, 'list')
    expect(stderr).toContain(`The database in ${folder} is from a newer version of Oncekey. Nothing was changed.`)
    expect(code).toBe(1)
  })
})

describe('a state folder that cannot be used: a sentence with the remedy that fits, and exit code 1', () => {
  const fail = async (folder: string) => {
    const { code, stdout, stderr } = await environment(folder, 'list')
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).not.toContain('    at ')
    return stderr.replace('Opening the local database…\n', '')
  }

  test('a file is in its place', async () => {
    const file = join(await newFolder(), 'file')
    await writeFile(file, '')
    const words =
      'is not a directory and cannot be created. Nothing was changed. Name another folder with --persist-to.\n'
    expect(await fail(file)).toBe(`${file} ${words}`)
    expect(await fail(join(file, 'below'))).toBe(`${join(file, 'below')} ${words}`)
  })

  test('it cannot be created', async () => {
    expect(await fail('/proc/oncekey')).toBe(
      '/proc/oncekey cannot be written to (ENOENT). Nothing was changed. Name another folder with --persist-to.\n',
    )
  })

  test('the database is another file, and a damaged one is not said to be that', async () => {
    const folder = await newFolder()
    await environment(folder, 'list')
    const databases = join(folder, 'v3/d1/miniflare-D1DatabaseObject')
    const [name = ''] = (await readdir(databases)).filter((file) => /^[0-9a-f]{64}\.sqlite$/.test(file))
    const file = join(databases, name)
    // All of it in one file, and none in the log beside it.
    const database = new DatabaseSync(file)
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    database.close()
    for (const other of await readdir(databases)) if (other.startsWith(`${name}-`)) await rm(join(databases, other))
    const whole = await readFile(file)
    await writeFile(file, 'no database')
    const foreign = await fail(folder)
    expect(foreign).toContain(`${file} is not a database, so ${folder} cannot be used. Nothing was changed.`)
    expect(foreign).toContain('Move the file away to start with an empty database')
    await writeFile(file, whole.subarray(0, 20_000))
    const damaged = await fail(folder)
    expect(damaged).toContain(`The database in ${folder} is damaged (database disk image is malformed`)
    expect(damaged).toContain('Restore the folder from a copy')
    expect(damaged).not.toContain('Move')
  })
})

describe('a failure of the runtime is explained by its reason', () => {
  const folder = '/srv/state'

  test.each([
    ['D1_ERROR: database or disk is full: SQLITE_FULL', 'The disk that has /srv/state is full', 'Free some space'],
    ['ENOSPC: no space left on device, write', 'The disk that has /srv/state is full', 'What was there is unharmed.'],
    [
      'attempt to write a readonly database: SQLITE_READONLY',
      '/srv/state cannot be written to',
      'Make its files writable',
    ],
    ["EACCES: permission denied, open '/srv/state/v3/x'", '/srv/state cannot be written to', 'Nothing was changed.'],
    ['file is not a database: SQLITE_NOTADB', 'so /srv/state cannot be used', 'Move the file away'],
    [
      'database disk image is malformed: SQLITE_CORRUPT',
      'The database in /srv/state is damaged',
      'Restore the folder from a copy',
    ],
    [
      'database is locked: SQLITE_BUSY',
      'Another process kept writing to the local database in /srv/state',
      'check, then run it again',
    ],
    [
      "EACCES: permission denied, mkdir '/nonexistent/.config'",
      '/nonexistent/.config cannot be written to',
      'set HOME or XDG_CONFIG_HOME',
    ],
    [
      'internal error; reference = 1',
      'The local database in /srv/state failed (internal error; reference = 1).',
      'may have taken effect',
    ],
  ])('%s', (reason, what, remedy) => {
    const words = explainLocal(folder, reason)
    expect(words).toContain(what)
    expect(words).toContain(remedy)
    if (!remedy.startsWith('Move')) expect(words).not.toContain('Move')
  })
})

test('a failure of a statement is explained with what the runtime has printed', async () => {
  const folder = await newFolder()
  const { code, stderr } = await cli(['environment', 'list', '--persist-to', folder], {
    openLocalRegions: async (directory) => {
      const opened = await openLocalRegions(directory)
      const [region] = opened.regions
      const { binding: working } = await region.open()
      const binding = new Proxy(working, {
        get: (target, property) =>
          property === 'batch'
            ? () => Promise.reject(new Error('D1_ERROR: database or disk is full: SQLITE_FULL'))
            : Reflect.get(target, property).bind(target),
      })
      const database = { region: '0', binding, deadline: Date.now() + 5_000, waitUntil: () => {} }
      return { ...opened, regions: [{ ...region, open: async () => database }] }
    },
  })
  expect(stderr).toContain(`The disk that has ${folder} is full`)
  expect(code).toBe(1)
})

test('a database without a home directory is opened all the same', async () => {
  const { HOME, XDG_CONFIG_HOME } = process.env
  Object.assign(process.env, { HOME: '/dev/null/home', XDG_CONFIG_HOME: '/dev/null/home' })
  try {
    const { database, close } = await openLocalDatabase(await newFolder())
    expect(await listEnvironments(database)).toEqual([])
    await close()
  } finally {
    Object.assign(process.env, { HOME })
    if (XDG_CONFIG_HOME === undefined) delete process.env.XDG_CONFIG_HOME
    else process.env.XDG_CONFIG_HOME = XDG_CONFIG_HOME
  }
})

test('a relative --persist-to starts where npm was called', async () => {
  const folder = await newFolder()
  expect(stateFolder('x', { INIT_CWD: folder })).toBe(join(folder, 'x'))
  expect(stateFolder('x', {})).toBe(join(process.cwd(), 'x'))
  expect(stateFolder('/srv/x', { INIT_CWD: folder })).toBe('/srv/x')
  expect(stateFolder(undefined, { INIT_CWD: folder })).toBe(join(root, '.wrangler/state'))
  await mkdir(join(folder, 'from'))
  const { code } = await cli(['environment', 'list', '--persist-to', 'x'], {
    openLocalRegions: (directory) => openLocalRegions(directory),
    env: { INIT_CWD: join(folder, 'from') },
  })
  expect(code).toBe(0)
  expect(await readdir(join(folder, 'from/x'))).toEqual(['v3'])
})
