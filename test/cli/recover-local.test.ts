import { copyFile, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Failure } from '../../src/cli/command.ts'
import { useFolder } from '../../src/cli/folder-lock.ts'
import { openLocalRegions } from '../../src/cli/local-database.ts'
import { managementOf } from '../conformance/management.ts'
import { type Served, serve } from '../served.ts'
import { newFolder } from './folder.ts'
import { populate, requestToken } from './populated.ts'
import { cli } from './terminal.ts'

/** `npm run recover` on a local database. The deployed one: recover.test.ts. */

describe('the recovery of the local database', () => {
  test('recover replaces the local database only as its last step, and no revoked secret works after an interruption', async () => {
    const folder = await newFolder()
    await (await openLocalRegions(folder)).close()
    const serveFolder = () => serve({ folder: join(folder, 'v3'), tokens: 'ES256', rateLimits: false })
    const before = await serveFolder()
    const two = await populate(before, { bulk: 5 })
    const kept = await two.newSecret()
    const directory = join(folder, 'v3/d1/miniflare-D1DatabaseObject')
    const file = (await readdir(directory)).find((name) => /^[0-9a-f]+\.sqlite$/.test(name))
    const copy = join(folder, 'copy.sqlite')
    await copyFile(join(directory, `${file}`), copy)
    await copyFile(join(directory, `${file}-wal`), `${copy}-wal`)
    const to = new Date().toISOString()
    await two.manage('DELETE', `/connect/client_secrets/${two.used.id}`)
    const gone = await two.newSecret()
    let opened = 0
    const recover = (failing = 0, ...words: string[]) =>
      cli(['recover', '--to', to, '--from', copy, '--persist-to', folder, ...words], {
        openLocalRegions: async (directory) => {
          if (++opened === failing) throw new Failure('The process was killed.')
          return openLocalRegions(directory)
        },
      })
    const tokens = async (worker: Served) => [
      await requestToken(worker, two.application.client_id, two.used.secret),
      await requestToken(worker, two.application.client_id, kept.secret),
    ]
    // The runtime closes a database that was not used for ten seconds.
    const use = setInterval(() => fetch(`${before.origins[0]}/readyz`), 1_000)
    const running = await recover()
    clearInterval(use)
    expect(running.stderr).toMatch(
      /Another process has .*\.sqlite open .*\. The database was not restored\. Stop that process first\./,
    )
    expect(running.stderr).toContain('again: it continues from this step.')
    expect(await tokens(before)).toEqual([401, 200])
    expect((await two.manage('DELETE', `/connect/client_secrets/${kept.id}`)).status).toBe(503)
    await before.stop()

    opened = 0
    expect((await recover(1)).stderr).toContain('[6/8]')
    const during = await serveFolder()
    expect(await tokens(during)).toEqual([401, 200])
    await during.stop()

    const { code, json } = await recover(0, '--json')
    expect(code).toBe(0)
    expect(json.applied).toEqual({ client_secrets: 1 })
    expect(json.gone.map(({ id }: { id: string }) => id)).toEqual([gone.id])
    const after = await serveFolder()
    expect(await tokens(after)).toEqual([401, 200])
    const manage = managementOf(after, two.apiKey)
    expect((await manage('DELETE', `/connect/client_secrets/${kept.id}`)).status).toBe(204)
    await after.stop()
    expect((await readdir(folder)).sort()).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^before-recovery-.*\.sqlite$/),
        expect.stringMatching(/^recovered-.*\.json$/),
      ]),
    )
    expect(await readdir(folder)).not.toContain('recovery.json')
  })

  test('recover is refused while another command uses the state folder, at its start and before it replaces the database', async () => {
    const folder = await newFolder()
    await (await openLocalRegions(folder)).close()
    const directory = join(folder, 'v3/d1/miniflare-D1DatabaseObject')
    const file = join(directory, `${(await readdir(directory)).find((name) => /^[0-9a-f]+\.sqlite$/.test(name))}`)
    const copy = join(folder, 'copy.sqlite')
    await copyFile(file, copy)
    await copyFile(`${file}-wal`, `${copy}-wal`)
    const words = ['recover', '--to', new Date().toISOString(), '--from', copy, '--persist-to', folder]
    const before = await readdir(folder)
    let release = await useFolder(folder)
    const early = await cli(words)
    release()
    expect(early.stderr).toContain(
      `\`npm run dev\` or another command uses ${folder}. Nothing was changed. Stop that process first.\n`,
    )
    expect(await readdir(folder)).toEqual(before)

    let opened = 0
    const late = await cli(words, {
      openLocalRegions: async (directory) => {
        // The fourth opening, for the report, is right before the last step.
        if (++opened === 4) release = await useFolder(folder)
        return openLocalRegions(directory)
      },
    })
    const { ino } = await stat(file)
    release()
    expect(late.stderr).toMatch(/\[8\/8\] .*\n.* uses .*\. The database was not restored\. Stop that process first\.\n/)
    const { code } = await cli(words, { openLocalRegions: (directory) => openLocalRegions(directory) })
    expect(code).toBe(0)
    expect((await stat(file)).ino).not.toBe(ino)
  })

  const words = ['recover', '--persist-to', 'nowhere']
  test.each([
    [['--from', 'copy.sqlite'], '--to is missing.'],
    [
      ['--to', 'yesterday', '--from', 'copy.sqlite'],
      '--to must be a time with its zone, such as 2026-11-26T08:00:00Z.',
    ],
    [['--to', '2026-01-01T00:00', '--from', 'copy.sqlite'], '--to must be a time with its zone'],
    [['--to', '2999-01-01T00:00Z', '--from', 'copy.sqlite'], '--to must be in the past.'],
    [['--to', '2026-01-01T00:00Z'], '--from is missing. The local database has no Time Travel'],
    [['--cancel', '--to', '2026-01-01T00:00Z'], '--cancel takes neither --to nor --from.'],
  ])('recover with the options %j is refused, and no database is opened', async (options, message) => {
    const { code, stdout, stderr } = await cli([...words, ...options])
    expect(stderr).toContain(message)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  })

  test.each(['missing.sqlite', 'text.sqlite'])(
    'recover from %s, which is not a copy of a database, changes nothing',
    async (name) => {
      const folder = await newFolder()
      await writeFile(join(folder, 'text.sqlite'), 'not a database, but a text of some length')
      const options = ['--to', '2026-01-01T00:00:00Z', '--from', join(folder, name), '--persist-to', folder]
      const { code, stderr } = await cli(['recover', ...options])
      expect(stderr).toMatch(/\.sqlite is not a copy of a local database \(.*\)\. Nothing was changed\./)
      expect(code).toBe(1)
    },
  )

  test('recover with a damaged state file changes nothing', async () => {
    const folder = await newFolder()
    await writeFile(join(folder, 'recovery.json'), '{"version":1', { mode: 0o600 })
    const { code, stderr } = await cli(['recover', '--cancel', '--persist-to', folder])
    expect(stderr).toContain('recovery.json is damaged. Nothing was changed.')
    expect(code).toBe(1)
  })
})
