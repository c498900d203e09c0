import { chmod, copyFile, open, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { LEFT_TABLES, MOVED_TABLES } from '../../src/storage/operator/transfer.ts'
import { forgetOperatorEvents, newApiKey } from '../operator.ts'
import { secretsOf } from '../requests.ts'
import { serve } from '../served.ts'
import { size } from '../sizes.ts'
import { newDatabase } from './databases.ts'
import { newFolder } from './folder.ts'
import { failingAt, momentsOf, populate, requestsOf, requestToken, rowsOf } from './populated.ts'
import { cli, type Surroundings } from './terminal.ts'

const SECRETS = size(250, 10_000)

const source = await serve({ tokens: 'ES256', rateLimits: false })
const one = await populate(source, { bulk: SECRETS })
const folder = await newFolder()

const exporting = (file: string, words: string[] = [], surroundings: Surroundings = {}) =>
  cli(['export', '--environment', one.name, '--file', file, ...words], { database: source.database, ...surroundings })
const importing = (file: string, database: D1Database, words: string[] = []) =>
  cli(['import', file, ...words], { database })

/** The lines of an export, without what differs between two runs. */
async function contents(file: string): Promise<string[]> {
  const [header, ...lines] = (await readFile(file, 'utf8')).trimEnd().split('\n')
  const { since: _, exported_at: __, ...rest } = JSON.parse(header ?? '')
  return [JSON.stringify(rest), ...lines]
}

async function edited(name: string, edit: (lines: string[]) => string[]): Promise<string> {
  const file = join(folder, name)
  await writeFile(file, edit((await readFile(whole, 'utf8')).split('\n')).join('\n'), { mode: 0o600 })
  return file
}

const whole = join(folder, 'whole.jsonl')
const exported = await exporting(whole, ['--digests', '--json'])

async function compare(target: D1Database): Promise<void> {
  for (const table of MOVED_TABLES) {
    const [before, after] = [
      await rowsOf(source.database, table, one.environmentId),
      await rowsOf(target, table, one.environmentId),
    ]
    expect(before.length, table).toBeGreaterThan(0)
    expect(after, table).toEqual(before)
  }
}

test('an imported environment has the same IDs, secrets, events and last uses, and its active secrets obtain tokens', async () => {
  expect(exported.json).toEqual({
    file: whole,
    environment: one.environmentId,
    digests: true,
    rows: expect.any(Number),
    pending_deliveries: 0,
  })
  const target = await serve({ tokens: 'ES256', rateLimits: false })
  const { json, stderr } = await importing(whole, target.database, ['--json'])
  expect(stderr).not.toContain('Skipped')
  expect(json.rows.client_secrets).toEqual({ added: SECRETS + 3, present: 0, conflicting: 0 })
  await compare(target.database)
  const { client_id: clientId } = one.application
  expect(await requestToken(target, clientId, one.used.secret)).toBe(200)
  expect(await requestToken(target, one.large.client_id, `${one.secrets.at(-1)?.secret}`)).toBe(200)
  for (const { secret } of [one.revoked, one.disabled]) expect(await requestToken(target, clientId, secret)).toBe(401)
  const created = await target.fetch(`${target.origins[0]}${secretsOf(one.application.id)}`, {
    headers: { Authorization: `Bearer ${one.apiKey}` },
  })
  expect(created.status).toBe(200)
})

test('an export has every table that is not listed as excluded, with all columns', async () => {
  const { results } = await source.database
    .prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_cf%' ESCAPE '\\' AND name <> 'd1_migrations'",
    )
    .all<{ name: string }>()
  expect(results.map(({ name }) => name).sort()).toEqual([...MOVED_TABLES, ...Object.keys(LEFT_TABLES)].sort())
  const [header, ...lines] = (await readFile(whole, 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  for (const table of MOVED_TABLES) {
    // `table_info` leaves out generated columns.
    const info = await source.database.prepare(`PRAGMA table_info(${table})`).all<{ name: string }>()
    const names = info.results.map(({ name }) => name)
    expect(header.columns[table], table).toEqual(names)
    expect(Object.keys(lines.find((line) => line.table === table).row), table).toEqual(names)
  }
})

test('an export without --digests contains no digest or signing secret, and import refuses it', async () => {
  const file = join(folder, 'open.jsonl')
  const { stdout } = await exporting(file)
  expect(stdout).toContain('It has no digests, so it cannot be imported.')
  const { results } = await source.database
    .prepare(
      'SELECT lower(hex(digest)) AS value FROM client_secrets UNION ALL SELECT lower(hex(digest)) FROM api_keys UNION ALL SELECT lower(secret) FROM webhook_endpoints',
    )
    .all<{ value: string }>()
  const found = async (file: string) => {
    const words = new Set((await readFile(file, 'utf8')).toLowerCase().match(/\w+/g))
    return results.filter(({ value }) => words.has(value))
  }
  expect(await found(whole)).toEqual(results)
  expect(await found(file)).toEqual([])
  const { code, stderr } = await importing(file, await newDatabase())
  expect(stderr).toContain(
    'The export has no digests, so its secrets and API keys could not be used. Export the environment again with --digests. Nothing was changed.',
  )
  expect(code).toBe(1)
})

test('an export that fails at any D1 request can be continued, and the file is the same as without the failure', async () => {
  const expected = await contents(whole)
  const total = await requestsOf(source.database, (database) =>
    exporting(join(folder, 'counted.jsonl'), ['--digests'], { database }),
  )
  expect(total).toBeGreaterThan(10)
  for (const number of momentsOf(total)) {
    const file = join(folder, `failed-${number}.jsonl`)
    const failing = failingAt(source.database, number, 'before')
    const { code, stderr } = await exporting(file, ['--digests'], { database: failing })
    expect(stderr).toContain('The database did not respond')
    expect(code).toBe(1)
    // As if the process had been killed within a line.
    if (number > 5) await writeFile(`${file}.part`, '{"table":"cl', { flag: 'a' })
    expect((await exporting(file, ['--digests'])).code).toBe(0)
    expect(await contents(file)).toEqual(expected)
  }
})

test('an interrupted export with --digests is not continued without --digests', async () => {
  const file = join(folder, 'other.jsonl')
  await exporting(file, ['--digests'], { database: failingAt(source.database, 8, 'before') })
  const { code, stderr } = await exporting(file)
  expect(stderr).toMatch(
    /other\.jsonl\.part is an interrupted export of env_\w+ with digests, from .*\. It was not changed\. Delete it, or name another file with --file\.\n$/,
  )
  expect(code).toBe(1)
})

test('a secret and an API key that are revoked during the export are revoked after the import', async () => {
  const [secret, key] = [await one.newSecret(), await newApiKey(source.database, { environmentId: one.environmentId })]
  const total = await requestsOf(source.database, (database) =>
    exporting(join(folder, 'before.jsonl'), ['--digests'], { database }),
  )
  const revoking = failingAt(source.database, total - 3, 'before')
  const file = join(folder, 'during.jsonl')
  const failed = await exporting(file, ['--digests'], { database: revoking })
  expect(failed.code).toBe(1)
  await one.manage('DELETE', `/connect/client_secrets/${secret.id}`)
  await cli(['api-key', 'revoke', key.id], { database: source.database })
  expect((await exporting(file, ['--digests'])).code).toBe(0)
  const target = await newDatabase()
  await importing(file, target)
  for (const [table, { id }] of [
    ['client_secrets', secret],
    ['api_keys', key],
  ] as const) {
    const row = await target.prepare(`SELECT revoked_at FROM ${table} WHERE id = ?`).bind(id).first()
    expect(row?.revoked_at, table).toEqual(expect.any(Number))
  }
  await forgetOperatorEvents(source.database)
})

test.each(['before', 'after'] as const)(
  'an import that fails %s any D1 request takes effect can be run again, and then has all rows',
  async (when) => {
    const file = join(folder, `again-${when}.jsonl`)
    await exporting(file, ['--digests'])
    const total = await requestsOf(await newDatabase(), (database) => importing(file, database))
    expect(total).toBeGreaterThan(8)
    for (const number of momentsOf(total)) {
      const target = await newDatabase()
      const { code, stderr } = await importing(file, failingAt(target, number, when))
      expect(stderr).toContain('The database did not respond')
      expect(code).toBe(1)
      expect((await importing(file, target)).code).toBe(0)
      await compare(target)
    }
  },
)

test('a repeated import does not change a secret that was revoked after the first import', async () => {
  const target = await newDatabase()
  await importing(whole, target)
  await target.prepare('UPDATE client_secrets SET revoked_at = 5 WHERE id = ?').bind(one.used.id).run()
  const { stdout } = await importing(whole, target)
  expect(stdout).toMatch(new RegExp(`^client_secrets +0 +${SECRETS + 3} +0$`, 'm'))
  const row = await target.prepare('SELECT revoked_at FROM client_secrets WHERE id = ?').bind(one.used.id).first()
  expect(row?.revoked_at).toBe(5)
})

test('imported events whose sequence numbers are already in use get higher numbers, in the same order', async () => {
  const target = await newDatabase()
  const events = (await rowsOf(source.database, 'events', one.environmentId)) as { seq: number; id: string }[]
  const ordered = events.toSorted((a, b) => a.seq - b.seq)
  const other = await newApiKey(target)
  for (const seq of [ordered[0]?.seq, ordered[2]?.seq, Number(ordered[2]?.seq) + 1]) {
    await target
      .prepare(
        "INSERT INTO events (seq, id, environment_id, type, data, created_at) VALUES (?1, ?2, ?3, 'api_key.created', '{}', 1)",
      )
      .bind(seq, `event_${seq}`, other.environmentId)
      .run()
  }
  for (let run = 0; run < 2; run++) {
    expect((await importing(whole, target)).code).toBe(0)
    const { results } = await target
      .prepare('SELECT id FROM events WHERE environment_id = ? ORDER BY seq')
      .bind(one.environmentId)
      .all()
    expect(results.map(({ id }) => id)).toEqual((await seqOrder(whole)).map(({ id }) => id))
  }
})

async function seqOrder(file: string): Promise<{ id: string; seq: number }[]> {
  const lines = (await readFile(file, 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  return lines.filter(({ table }) => table === 'events').map(({ row }) => row)
}

test('import skips and reports a row whose digest is already in use in another environment', async () => {
  const target = await newDatabase()
  const other = await newApiKey(target)
  const own = await source.database
    .prepare('SELECT lower(hex(digest)) AS digest FROM client_secrets WHERE id = ?')
    .bind(one.used.id)
    .first()
  await target
    .prepare(
      `INSERT INTO client_secrets (environment_id, id, application_id, digest, secret_hint, created_at, updated_at, event_id)
        VALUES (?1, 'secret_other', 'conn_app_1', unhex(?2), 'abcdef', 1, 1, 'event_0')`,
    )
    .bind(other.environmentId, own?.digest)
    .run()
  const { stderr, json } = await importing(whole, target, ['--json'])
  expect(stderr).toContain(
    `Skipped client_secrets ${one.used.id}: another row of this database has its ID, client ID or digest.`,
  )
  expect(json.rows.client_secrets.conflicting).toBe(1)
})

describe('a file that cannot be imported', () => {
  const header = (change: object) => (lines: string[]) => [
    JSON.stringify({ ...JSON.parse(lines[0] ?? ''), ...change }),
    ...lines.slice(1),
  ]
  const row = (change: object) => (lines: string[]) =>
    lines.map((line) =>
      line.startsWith('{"table":"api_keys"')
        ? JSON.stringify({ table: 'api_keys', row: { ...JSON.parse(line).row, ...change } })
        : line,
    )

  test.each<[string, (lines: string[]) => string[], string]>([
    ['empty', () => [], 'does not begin like an export of Oncekey.'],
    ['not an export', () => ['{"a":1}', ''], 'does not begin like an export of Oncekey.'],
    [
      'another format version',
      header({ oncekey_export: 2 }),
      'has version 2 of the export format. This version of Oncekey reads version 1.',
    ],
    [
      'a newer schema',
      header({ schema_version: 99 }),
      'is from a newer version of Oncekey. Use that version here, too.',
    ],
    [
      'another region',
      header({ region: '1' }),
      'is from region 1, and the regions here are 0 (DB). API keys and secrets contain the digit',
    ],
    [
      'cut between lines',
      (lines) => [...lines.slice(0, 20), ''],
      'ends too early: the export was interrupted, or a copy is incomplete.',
    ],
    ['cut within a line', (lines) => [...lines.slice(0, 20), '{"table":"ap'], 'ends too early'],
    ['a line is missing', (lines) => lines.filter((_, i) => i !== 7), 'rows instead of'],
    [
      'a line is damaged',
      (lines) => lines.map((line, i) => (i === 4 ? line.slice(1) : line)),
      ', line 5, is not part of an export.',
    ],
    ['rows behind the end', (lines) => [...lines.slice(0, -1), lines[2] ?? '', ''], 'follows the end of the export.'],
    ['a row of another environment', row({ environment_id: 'env_other' }), 'does not belong to this export.'],
    ['a column that no table has', row({ 'id) --': 'x' }), 'does not belong to this export.'],
    [
      'an unknown table',
      (lines) => lines.map((line) => line.replace('"table":"events"', '"table":"sqlite_schema"')),
      'is not part of an export.',
    ],
  ])('a file that cannot be imported is reported, and nothing is changed: %s', async (title, edit, reason) => {
    const target = await newDatabase()
    const { code, stdout, stderr } = await importing(await edited(`${title}.jsonl`, edit), target)
    expect(stderr).toContain(reason)
    expect(stderr).toMatch(/Nothing was changed\.\n$/)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    const { results } = await target.prepare('SELECT 1 FROM environments').all()
    expect(results).toEqual([])
  })

  test('import refuses a file with bytes that are not UTF-8', async () => {
    const file = await edited('bytes.jsonl', (lines) => lines)
    const bytes = await readFile(file)
    await writeFile(file, Buffer.concat([bytes.subarray(0, -1), Buffer.from([0xff, 0x0a])]))
    expect((await importing(file, await newDatabase())).stderr).toContain(
      'has bytes that are not UTF-8. Nothing was changed.',
    )
  })

  test('import refuses a missing file, a link, and a file that others can write to', async () => {
    const missing = await importing(join(folder, 'missing.jsonl'), await newDatabase())
    expect(missing.stderr).toContain('missing.jsonl does not exist. Nothing was changed.')
    const link = join(folder, 'link.jsonl')
    await symlink(whole, link)
    expect((await importing(link, await newDatabase())).stderr).toContain('so it is not trusted')
    const shared = join(folder, 'shared.jsonl')
    await copyFile(whole, shared)
    await chmod(shared, 0o666)
    expect((await importing(shared, await newDatabase())).stderr).toContain('so it is not trusted')
  })

  test('import stops at a row that the database refuses, and says that a part of the file was imported', async () => {
    const file = await edited('type.jsonl', row({ access: 'all' }))
    const { code, stderr } = await importing(file, await newDatabase())
    expect(stderr).toMatch(/The database refused a row of .*CHECK constraint failed.*A part of the file was imported\./)
    expect(code).toBe(1)
  })
})

test('import refuses an environment name that is taken, and --name gives another name', async () => {
  const target = await newDatabase()
  await cli(['environment', 'create', '--name', one.name], { database: target })
  const refused = await importing(whole, target)
  expect(refused.stderr).toMatch(
    /There is another environment named .* Choose another name with --name\. Nothing was changed\.\n$/,
  )
  const named = await importing(whole, target, ['--name', 'moved'])
  expect(named.code).toBe(0)
  const list = await cli(['environment', 'list', '--json'], { database: target })
  expect(list.json.map(({ name }: { name: string }) => name)).toEqual(expect.arrayContaining([one.name, 'moved']))
})

test('export and import preserve unusual characters in names, and also move an environment without rows', async () => {
  const database = await newDatabase()
  const { environmentId } = await newApiKey(database)
  const name = '\'"; DROP TABLE events; --\n\u2028\u202e{"end":true}\\u0000 🗝️'
  await database
    .prepare(
      `INSERT INTO applications VALUES (?1, 'conn_app_1', 'client_1', 'm2m', ?2, ?2, '[]', 'org', '[]', 0, 0, 1, 1, NULL, 'event_0')`,
    )
    .bind(environmentId, name)
    .run()
  await cli(['environment', 'create', '--name', 'empty'], { database })
  const target = await newDatabase()
  for (const { name, id } of (await cli(['environment', 'list', '--json'], { database })).json) {
    const file = join(folder, `${id}.jsonl`)
    expect((await cli(['export', '--environment', name, '--digests', '--file', file], { database })).code).toBe(0)
    expect((await importing(file, target)).code).toBe(0)
  }
  expect(await rowsOf(target, 'applications', environmentId)).toEqual(
    await rowsOf(database, 'applications', environmentId),
  )
  expect((await cli(['environment', 'list', '--json'], { database: target })).json).toHaveLength(2)
})

describe('an export file that cannot be written', () => {
  test('export does not replace an existing file, and makes its file readable only for the current user', async () => {
    const { code, stderr } = await exporting(whole, ['--digests'])
    expect(stderr).toMatch(/whole\.jsonl exists already\. Nothing was changed\. Name another file with --file\.\n$/)
    expect(code).toBe(1)
    expect((await stat(whole)).mode & 0o777).toBe(0o600)
  })

  test('export reports a folder that it cannot write to', async () => {
    const { code, stderr } = await exporting('/proc/self/export.jsonl')
    expect(stderr).toMatch(/export\.jsonl\.part cannot be written \(E\w+\)\. Nothing was changed\.\n$/)
    expect(code).toBe(1)
  })

  test('export reports an environment that does not exist', async () => {
    const { code, stderr } = await cli(['export', '--environment', 'nowhere'], { database: source.database })
    expect(stderr).toContain('Environment nowhere was not found. Nothing was changed.')
    expect(code).toBe(1)
  })
})

test('export does not include pending webhook deliveries, and prints their number', async () => {
  const database = await newDatabase()
  const { environmentId } = await newApiKey(database)
  await database.batch([
    database
      .prepare(
        `INSERT INTO webhook_endpoints (id, environment_id, url, events, secret, cursor, delivered_count, created_at)
        VALUES ('we_1', ?1, 'https://example.com', '[]', 's', 0, 0, 1)`,
      )
      .bind(environmentId),
    database
      .prepare("INSERT INTO webhook_deliveries VALUES ('we_1', 'event_1', ?1, 'pending', 0, 0, NULL, NULL, 1, NULL)")
      .bind(environmentId),
  ])
  const [{ name }] = (await cli(['environment', 'list', '--json'], { database })).json
  const words = ['export', '--environment', name, '--file', join(folder, 'pending.jsonl'), '--json']
  const { stderr, json } = await cli(words, { database })
  expect(stderr).toContain('Pending webhook deliveries, which are not exported: 1.\n')
  expect(json.pending_deliveries).toBe(1)
})

test('an export that stops because the disk is full can be continued when there is space', async () => {
  const file = join(folder, 'full.jsonl')
  const handle = await open(whole)
  const prototype = Object.getPrototypeOf(handle)
  await handle.close()
  const full = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
  const { write } = prototype
  let writes = 0
  const spy = vi.spyOn(prototype, 'write').mockImplementation(function (this: unknown, ...values) {
    return ++writes === 4 ? Promise.reject(full) : write.apply(this, values)
  })
  const { code, stderr } = await exporting(file, ['--digests'])
  spy.mockRestore()
  expect(stderr).toMatch(
    /full\.jsonl\.part cannot be written \(ENOSPC\)\. The database was not changed\. Free some space, then/,
  )
  expect(code).toBe(1)
  expect((await exporting(file, ['--digests'])).code).toBe(0)
  const undisturbed = join(folder, 'space.jsonl')
  await exporting(undisturbed, ['--digests'])
  expect(await contents(file)).toEqual(await contents(undisturbed))
})

test('import writes an environment to the database of its region, even if that is not the default region', async () => {
  const [database, other, target] = [await newDatabase(), await newDatabase(), await newDatabase()]
  const { environmentId } = await newApiKey(database, { region: '1' })
  const file = join(folder, 'region.jsonl')
  const words = ['export', '--environment', environmentId, '--digests', '--file', file]
  expect((await cli(words, { databases: [other, database] })).code).toBe(0)
  expect((await cli(['import', file], { databases: [other, target] })).code).toBe(0)
  expect(await rowsOf(target, 'environments', environmentId)).toEqual(
    await rowsOf(database, 'environments', environmentId),
  )
  expect(await rowsOf(other, 'environments', environmentId)).toEqual([])
})
