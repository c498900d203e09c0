import { applyD1Migrations, env } from 'cloudflare:test'
import { expect, test } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { SCHEMA_VERSION } from '../../src/storage/migrations.ts'
import { call } from '../api.ts'
import { dropTables } from '../drop-tables.ts'
import { secretsOf } from '../requests.ts'

test('the schema version that the Worker requires is that of the newest migration file', () => {
  expect(SCHEMA_VERSION).toBe(Number.parseInt(env.MIGRATIONS.at(-1)?.name ?? '', 10))
})

test('a database of schema version 2 is migrated, and keeps its secrets', async () => {
  await dropTables(env.DB)
  await applyD1Migrations(env.DB, env.MIGRATIONS.slice(0, 2))
  const { plaintext: apiKey, digest } = await issueCredential('sk', '0')
  const [environmentId, keyId, applicationId] = ['env_x', 'api_key_x', 'conn_app_x']
  await env.DB.batch([
    env.DB.prepare("INSERT INTO environments (id, client_id, name, created_at) VALUES (?, 'client_x', 'x', 1)").bind(
      environmentId,
    ),
    env.DB.prepare(
      "INSERT INTO api_keys (id, environment_id, name, digest, access, created_at) VALUES (?, ?, 'test', ?, 'write', 1)",
    ).bind(keyId, environmentId, digest),
    env.DB.prepare(
      `INSERT INTO applications (environment_id, id, client_id, application_type, name, scopes, organization_id, redirect_uris,
        uses_pkce, is_first_party, created_at, updated_at, event_id)
      VALUES (?, ?, 'client_y', 'm2m', 'x', '[]', 'org_1', '[]', 0, 0, 1, 1, 'event_y')`,
    ).bind(environmentId, applicationId),
  ])
  const insert = (id: string, hint: string, more: string) =>
    env.DB.prepare(
      `INSERT INTO client_secrets (environment_id, id, application_id, digest, secret_hint, name, created_by, created_at,
        updated_at, event_id, ${more.split('=')[0]}) VALUES (?, ?, ?, randomblob(32), ?, 'ci', ?, 1, 2, 'event_x', ${more.split('=')[1]})`,
    )
      .bind(environmentId, id, applicationId, hint, keyId)
      .run()
  await insert('secret_a', 'abc123', 'last_used_at = 1000')
  await insert('secret_b', 'xyz789', 'revoked_at = 5')
  const rows = async () => (await env.DB.prepare('SELECT * FROM client_secrets ORDER BY id').all()).results
  const before = await rows()

  await applyD1Migrations(env.DB, env.MIGRATIONS)

  const columns = Object.keys((await rows())[0] ?? {})
  const empty = Object.fromEntries(columns.map((column) => [column, null]))
  expect(await rows()).toEqual(before.map((row) => ({ ...empty, ...row })))
  expect(await env.DB.prepare('SELECT version FROM schema_version').first('version')).toBe(SCHEMA_VERSION)
  const found = await call(apiKey, 'GET', '/connect/client_secrets?hint=abc123')
  expect(found.json).toMatchObject([{ id: 'secret_a', name: 'ci', application_id: applicationId }])
  const changed = await call(apiKey, 'PATCH', '/connect/client_secrets/secret_a', { body: { disabled: true } })
  expect(changed.json).toMatchObject({ disabled: true })
  const [first] = await rows()
  expect(JSON.parse(String(first?.history))).toEqual(['event_x', first?.event_id])
  expect((await call(apiKey, 'POST', secretsOf(applicationId))).status).toBe(201)
})
