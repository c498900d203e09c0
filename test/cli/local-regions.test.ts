import { copyFile, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { openLocalRegions } from '../../src/cli/local-database.ts'
import { openLocalDatabases } from '../../src/cli/local-regions.ts'
import { configPath } from '../../src/cli/wrangler.ts'
import { size } from '../sizes.ts'
import { newFolder } from './folder.ts'
import { cli, type Finished } from './terminal.ts'

/** Local state whose configuration changes: a region is added, or removed. */

let folder: string
let path: string

beforeEach(async () => {
  folder = await newFolder()
  path = join(await newFolder(), 'wrangler.toml')
  await copyFile(configPath, path)
})

/** Writes REGIONS, and a database for each of the bindings. */
async function configure(regions: string, ...bindings: string[]): Promise<void> {
  const text = await readFile(configPath, 'utf8')
  const databases = bindings.map(
    (binding) => `[[d1_databases]]\nbinding = "${binding}"\ndatabase_name = "${binding}"\n`,
  )
  const changed = text.replace(/^REGIONS = .*$/m, `REGIONS = "${regions}"`)
  await writeFile(path, changed.replace(/^\[vars\]$/m, `${databases.join('\n')}\n[vars]`))
}

const command = (...words: string[]): Promise<Finished> =>
  cli([...words, '--persist-to', folder, '--json'], {
    openLocalRegions: (directory, wanted) => openLocalRegions(directory, { wanted, path }),
  })
const list = async () => (await command('environment', 'list')).json

/** The ports on which programs of this machine listen, from Linux's own list. */
async function listening(): Promise<number[]> {
  const lines = (await readFile('/proc/net/tcp', 'utf8')).split('\n').slice(1)
  const fields = lines.map((line) => line.trim().split(/\s+/)).filter(([, , , state]) => state === '0A')
  return fields.map(([, local]) => Number.parseInt(`${local?.split(':')[1]}`, 16))
}

test.skipIf(process.platform !== 'linux')(
  'an open local database answers no other program of the machine',
  async () => {
    const before = new Set(await listening())
    const { databaseOf, dispose } = await openLocalDatabases(folder, [{ digit: '0', binding: 'DB', id: 'DB' }])
    try {
      const body = JSON.stringify([{ sql: 'SELECT 1 AS one', values: [] }])
      const ask = async (port: number) =>
        (await fetch(`http://127.0.0.1:${port}/DB_DB`, { method: 'POST', body }).catch(() => null))?.status
      const statuses = await Promise.all((await listening()).filter((port) => !before.has(port)).map(ask))
      expect(statuses).toContain(403)
      expect(statuses).not.toContain(200)
      expect(await databaseOf({ digit: '0', binding: 'DB', id: 'DB' }).prepare('SELECT 1 AS one').first('one')).toBe(1)
    } finally {
      await dispose()
    }
  },
)

test('adding a second region to wrangler.toml keeps the data of the state folder', async () => {
  const old = (await command('environment', 'create', '--name', 'old')).json
  const key = (await command('api-key', 'create', '--environment', 'old', '--name', 'k', '--access', 'read')).json
  const before = await list()
  expect(await readdir(folder)).not.toContain('.regions.json')

  await configure('0=DB,1=DB_WEUR', 'DB_WEUR')
  expect(await list()).toEqual(before.map((row: object) => ({ ...row, region: '0' })))
  expect((await command('api-key', 'list')).json).toMatchObject([{ id: key.id, environment: 'old', region: '0' }])
  const added = (await command('environment', 'create', '--name', 'new', '--region', 'DB_WEUR')).json
  expect(added).toMatchObject({ region: '1' })
  expect(await list()).toMatchObject([{ id: old.id }, { id: added.id, name: 'new', region: '1' }])
  expect((await stat(join(folder, '.regions.json'))).mode & 0o777).toBe(0o600)
})

test('a region with environments cannot be removed, and a region without environments can', async () => {
  await configure('0=DB,1=DB_WEUR,2=DB_APAC', 'DB_WEUR', 'DB_APAC')
  const { id } = (await command('environment', 'create', '--name', 'europe', '--region', '1')).json
  await configure('0=DB,1=DB_WEUR', 'DB_WEUR')
  expect(await list()).toMatchObject([{ id }])

  await configure('0=DB')
  // Every command opens the regions in the same way, and each opening takes a second.
  for (const words of [['environment', 'list'], ['api-key', 'list'], ['migrate']].slice(0, size(1, 3))) {
    const { code, stderr } = await command(...words)
    expect(stderr).toContain(`REGIONS no longer has 1=DB_WEUR, and that region has environments: europe (${id}).`)
    expect(stderr).toContain('Nothing was changed. Put the region back into wrangler.toml.')
    expect(code).toBe(1)
  }
  await configure('0=DB,1=DB_WEUR', 'DB_WEUR')
  expect(await list()).toMatchObject([{ id, region: '1' }])
})

test('a region digit cannot get another database while its database has environments', async () => {
  const { id } = (await command('environment', 'create', '--name', 'first')).json
  await configure('0=DB_WEUR,1=DB', 'DB_WEUR')
  const moved = await command('environment', 'list')
  expect(moved.stderr).toContain(`REGIONS no longer has 0=DB, and that region has environments: first (${id}).`)
  expect(moved.code).toBe(1)
})

test('a database cannot get another region digit while it has environments', async () => {
  await configure('1=DB')
  const { id } = (await command('environment', 'create', '--name', 'one')).json
  await configure('0=DB')
  const { code, stderr } = await command('environment', 'list')
  expect(stderr).toContain(`REGIONS no longer has 1=DB, and that region has environments: one (${id}).`)
  expect(code).toBe(1)
})

test('later commands open the regions that dev added, although wrangler.toml does not have them', async () => {
  const { regions, close } = await openLocalRegions(folder, { wanted: 3, path })
  expect(regions.map(({ digit }) => digit)).toEqual(['0', '1', '2'])
  await close()
  expect((await command('environment', 'create', '--name', 'third', '--region', '2')).json.region).toBe('2')
  expect(await list()).toMatchObject([{ name: 'third', region: '2' }])
})
