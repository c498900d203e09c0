import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { unstable_splitSqlQuery } from 'wrangler'
import { explainLocal, openLocalRegions, stateFolder } from '../../src/cli/local-database.ts'
import { root } from '../../src/cli/wrangler.ts'
import { SCHEMA_VERSION } from '../../src/storage/migrations.ts'
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

/** The only database file of a state folder. Each start of the runtime takes a second, so tests read and edit the file. */
async function databaseFile(folder: string): Promise<string> {
  const databases = join(folder, 'v3/d1/miniflare-D1DatabaseObject')
  const [name = ''] = (await readdir(databases)).filter((file) => /^[0-9a-f]{64}\.sqlite$/.test(file))
  return join(databases, name)
}

/** Runs SQL on the database file, and empties the write-ahead log beside it. */
async function edit(folder: string, sql: string): Promise<void> {
  const database = new DatabaseSync(await databaseFile(folder))
  database.exec(sql)
  database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  database.close()
}

async function read(folder: string, sql: string): Promise<unknown[]> {
  const database = new DatabaseSync(await databaseFile(folder))
  const rows = database.prepare(sql).all()
  database.close()
  return rows.map((row) => ({ ...row }))
}

const NAMES = 'SELECT name FROM environments ORDER BY name'

const once = <T>(make: () => Promise<T>) => {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}

/** A state folder with tables, made by two commands at once. */
const current = once(async () => {
  const folder = await newFolder()
  const both = await Promise.all(['one', 'two'].map((name) => environment(folder, 'create', '--name', name)))
  return { folder, both }
})

/** A copy of a state folder, changed by a statement. */
async function copyOf(folder: string, change: string): Promise<string> {
  const copy = await newFolder()
  await edit(folder, '')
  await cp(folder, copy, { recursive: true })
  await edit(copy, change)
  return copy
}

test('two commands that open a new state folder at once create the tables once, and both succeed', async () => {
  const { folder, both } = await current()
  expect(both.map(({ code, stderr }) => ({ code, stderr }))).toEqual(
    Array(2).fill({ code: 0, stderr: 'Opening the local database…\n' }),
  )
  expect(await read(folder, NAMES)).toEqual([{ name: 'one' }, { name: 'two' }])
  expect((await stat(join(folder, 'v3'))).mode & 0o777).toBe(0o700)
})

describe('a local database of another version', () => {
  /** A state folder with the tables of the first version, and an environment. */
  const older = once(async () => {
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
    await close()
    return folder
  })
  const migration = async (name: string) => ({
    name,
    statements: unstable_splitSqlQuery(await readFile(join('src/storage/migrations', name), 'utf8')),
  })

  test('a database of the first version is migrated with its data', async () => {
    const folder = await copyOf(await older(), '')
    expect((await environment(folder, 'create', '--name', 'new')).code).toBe(0)
    expect(await read(folder, NAMES)).toEqual([{ name: 'new' }, { name: 'old' }])
    expect(await read(folder, 'SELECT version FROM schema_version')).toEqual([{ version: SCHEMA_VERSION }])
  })

  test('a database that cannot be migrated is refused, and not changed', async () => {
    const change = 'ALTER TABLE applications RENAME COLUMN organization_id TO organization'
    const folder = await copyOf(await older(), change)
    const everything = 'SELECT name, sql FROM sqlite_schema ORDER BY name'
    const before = [await read(folder, everything), await read(folder, 'SELECT * FROM environments')]
    const { code, stderr } = await environment(folder, 'list')
    expect(stderr).toContain(`The database in ${folder} is from a version that cannot be brought up to date (`)
    expect(stderr).toContain('It was not changed. Name another folder with --persist-to.')
    expect(code).toBe(1)
    expect([await read(folder, everything), await read(folder, 'SELECT * FROM environments')]).toEqual(before)
  })

  test('a database of a newer version is refused', async () => {
    const folder = await copyOf((await current()).folder, 'UPDATE schema_version SET version = 1000')
    const { code, stderr } = await environment(folder, 'list')
    expect(stderr).toContain(`The database in ${folder} is from a newer version of Oncekey. Nothing was changed.`)
    expect(code).toBe(1)
  })
})

describe('an unusable state folder ends the command with exit code 1, an error message and the remedy', () => {
  const fail = async (folder: string) => {
    const { code, stdout, stderr } = await environment(folder, 'list')
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).not.toContain('    at ')
    return stderr.replace('Opening the local database…\n', '')
  }

  test('if the state folder is a file, the error says what to do', async () => {
    const file = join(await newFolder(), 'file')
    await writeFile(file, '')
    const words =
      'is not a directory and cannot be created. Nothing was changed. Name another folder with --persist-to.\n'
    expect(await fail(file)).toBe(`${file} ${words}`)
    expect(await fail(join(file, 'below'))).toBe(`${join(file, 'below')} ${words}`)
  })

  test('if the state folder cannot be created, the error says what to do', async () => {
    expect(await fail('/proc/oncekey')).toBe(
      '/proc/oncekey cannot be written to (ENOENT). Nothing was changed. Name another folder with --persist-to.\n',
    )
  })

  test('a file that is not a database and a damaged database get different remedies', async () => {
    const folder = await copyOf((await current()).folder, '')
    const file = await databaseFile(folder)
    for (const log of [`${file}-wal`, `${file}-shm`]) await rm(log, { force: true })
    const whole = await readFile(file)
    await writeFile(file, 'no database')
    const foreign = await fail(folder)
    expect(foreign).toContain(`${file} is not a database, so ${folder} cannot be used. Nothing was changed.`)
    expect(foreign).toContain('away to start empty')
    await writeFile(file, whole.subarray(0, 20_000))
    const damaged = await fail(folder)
    expect(damaged).toContain(`The database in ${folder} is damaged (database disk image is malformed`)
    expect(damaged).toContain('Restore the folder from a copy')
    expect(damaged).not.toContain('Move')
  })
})

describe('the error message for a failure of the local runtime', () => {
  const folder = '/srv/state'

  test.each([
    ['D1_ERROR: database or disk is full: SQLITE_FULL', 'The disk that has /srv/state is full', 'Free some space'],
    ['ENOSPC: no space left on device, write', 'The disk that has /srv/state is full', 'The existing data is intact.'],
    [
      'attempt to write a readonly database: SQLITE_READONLY',
      '/srv/state cannot be written to',
      'Make its files writable',
    ],
    ["EACCES: permission denied, open '/srv/state/v3/x'", '/srv/state cannot be written to', 'Nothing was changed.'],
    ['file is not a database: SQLITE_NOTADB', 'so /srv/state cannot be used', 'Move the folder /srv/state away'],
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
  ])(
    'the error message for a failure of the local runtime has the cause and the remedy: %s',
    (reason, what, remedy) => {
      const words = explainLocal(folder, reason)
      expect(words).toContain(what)
      expect(words).toContain(remedy)
      if (!remedy.startsWith('Move')) expect(words).not.toContain('Move')
    },
  )
})

test('the error message for a failed statement has the cause of the failure', async () => {
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

test('the local database opens without a home directory', async () => {
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

test('a relative --persist-to is relative to the folder in which npm was called', async () => {
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
  expect((await readdir(join(folder, 'from/x'))).sort()).toEqual(['.in-use.lock', 'v3'])
})
