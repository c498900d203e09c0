import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { PAST } from './cloudflare.ts'
import { environmentAt, startCloudflare } from './cloudflare-server.ts'
import { applyMigrations, emptyDatabase } from './databases.ts'
import { copyProject, run } from './processes.ts'

/** `npm run recover -- --remote` as a process, with the real wrangler, to a state from before migrations. */

vi.setConfig({ testTimeout: 180_000 })

const ROWS = [
  "INSERT INTO environments (id, client_id, name, created_at) VALUES ('env_1', 'client_env', 'production', 1)",
  `INSERT INTO applications (id, environment_id, client_id, application_type, name, scopes, organization_id, redirect_uris,
     uses_pkce, is_first_party, created_at, updated_at, event_id)
   VALUES ('conn_app_1', 'env_1', 'client_1', 'm2m', 'Export', '["a"]', 'org_1', '[]', 0, 0, 3, 3, 'event_1')`,
  ...['secret_kept', 'secret_revoked'].map(
    (id, i) => `INSERT INTO client_secrets (id, environment_id, application_id, digest, secret_hint, name, created_at,
     updated_at, event_id) VALUES ('${id}', 'env_1', 'conn_app_1', unhex('${`${i}1`.repeat(32)}'), 'abcdef', 'CI', 4, 4, 'event_2')`,
  ),
]

/** A database with the tables of the second migration. */
async function olderDatabase(): Promise<D1Database> {
  const database = await emptyDatabase()
  await applyMigrations(database, { count: 2 })
  await database.batch(ROWS.map((sql) => database.prepare(sql)))
  return database
}

test('a recovery to a time before a migration applies the migration and the revocations, even if it is interrupted and run again', async () => {
  const project = await copyProject()
  const { cloudflare, url } = await startCloudflare()
  const deployed = await cloudflare.addDatabase('oncekey', 'WEUR')
  const ISSUER = { name: 'ISSUER', type: 'plain_text', text: 'https://oncekey.jane.workers.dev' }
  cloudflare.addVersion({ bindings: [ISSUER], secrets: { SIGNING_KEY: 'k' } })
  const past = await olderDatabase()
  cloudflare.states.set(PAST, past)
  const present = await olderDatabase()
  await applyMigrations(present)
  await present
    .prepare("UPDATE client_secrets SET revoked_at = ?1, updated_at = ?1 WHERE id = 'secret_revoked'")
    .bind(Date.now())
    .run()
  Object.assign(deployed, { d1: present })
  const words = ['recover', '--remote', '--to', new Date(Date.now() - 60_000).toISOString()]
  const recover = (...more: string[]) => run([...words, ...more], { cwd: project, env: environmentAt(url) })

  cloudflare.broken = `POST /d1/database/${deployed.described.uuid}/query`
  const interrupted = await recover()
  expect(interrupted.stderr).toMatch(
    /Could not read the migrations of oncekey: .*\nRun `npm run recover -- --to \S+ --remote` again: it continues from this step\.\n$/,
  )
  expect({ code: interrupted.code, isClosed: cloudflare.isClosed }).toEqual({ code: 1, isClosed: true })

  const { code, stdout, stderr } = await recover('--json')
  expect(stderr).toMatch(/\[5\/8\] Restore oncekey…\n[\s\S]* {6}Restored\. oncekey: applied 0003_inventory\.sql, /)
  expect(stderr).not.toContain('To go back')
  expect(JSON.parse(stdout)).toMatchObject({
    applied: { client_secrets: 1 },
    gone: [],
    undo: 'npx wrangler d1 time-travel restore oncekey --bookmark=00000085-0000024c-00004c6d, then npm run recover -- --cancel --remote',
  })
  expect(code).toBe(0)
  expect({ isClosed: cloudflare.isClosed, secrets: cloudflare.secretNames }).toEqual({
    isClosed: false,
    secrets: ['SIGNING_KEY', 'MAINTENANCE'],
  })
  const { results } = await past.prepare('SELECT id, revoked_at FROM client_secrets ORDER BY id').all()
  expect(results).toEqual([
    { id: 'secret_kept', revoked_at: null },
    { id: 'secret_revoked', revoked_at: expect.any(Number) },
  ])
  expect(await readdir(join(project, '.wrangler/recovery/0'))).toEqual([expect.stringMatching(/^recovered-.*\.json$/)])
})
