import { issueCredential } from '../../src/credential/credential.ts'
import { newId } from '../../src/credential/id.ts'
import { managementOf } from '../conformance/management.ts'
import { newApiKey } from '../operator.ts'
import { m2mApplication, secretsOf } from '../requests.ts'
import type { Served } from '../served.ts'
import { cli } from './terminal.ts'

/** An environment with rows in every table of an export, made through the API of a served Worker and the commands. */

interface NamedSecret {
  readonly id: string
  readonly secret: string
}

export async function populate(served: Served, { bulk = 0 } = {}) {
  const { database, fetch, origins } = served
  const { apiKey, environmentId, id: apiKeyId } = await newApiKey(database)
  const environment = await database.prepare('SELECT * FROM environments WHERE id = ?').bind(environmentId).first()
  const manage = managementOf({ origins, fetch }, apiKey)
  const words = [
    'webhook',
    'create',
    '--environment',
    `${environment?.name}`,
    '--url',
    'https://example.com/?a=b',
    // No event of this type occurs during a test, so nothing is delivered.
    '--events',
    'signing_key.rotated',
    '--json',
  ]
  const { json: endpoint } = await cli(words, { database })
  const application = (
    await manage('POST', '/connect/applications', { body: { ...m2mApplication, scopes: ['a', 'b'] } })
  ).json
  const newSecret = async (): Promise<NamedSecret> => {
    const { json } = await manage('POST', secretsOf(application.id), { body: { name: 'ünï "quoted" \\ 🗝️' } })
    return { id: json.id, secret: json.secret }
  }
  const limits = { scopes: ['a'], allowed_ips: ['203.0.113.0/24', '2001:db8::1'] }
  const [used, revoked, disabled] = [await newSecret(), await newSecret(), await newSecret()]
  await requestToken(served, application.client_id, used.secret)
  await manage('DELETE', `/connect/client_secrets/${revoked.id}`)
  await manage('PATCH', `/connect/client_secrets/${disabled.id}`, { body: { disabled: true, ...limits } })
  const large = (await manage('POST', '/connect/applications', { body: m2mApplication })).json
  const secrets = await insertSecrets(database, environmentId, large.id, bulk)
  return {
    apiKey,
    apiKeyId,
    environmentId,
    name: `${environment?.name}`,
    manage,
    application,
    /** The application that has `secrets`. */
    large,
    used,
    revoked,
    disabled,
    secrets,
    endpoint,
    newSecret,
  }
}

/** Stores secrets directly, 500 at a time. */
async function insertSecrets(database: D1Database, environmentId: string, applicationId: string, count: number) {
  const secrets: NamedSecret[] = []
  for (let left = count; left > 0; left -= 500) {
    const rows = await Promise.all(
      Array.from({ length: Math.min(left, 500) }, async () => {
        const { plaintext, digest, hint } = await issueCredential('cs', '0')
        const id = newId('secret', Date.now())
        secrets.push({ id, secret: plaintext })
        return { id, digest: Buffer.from(digest).toString('hex'), hint }
      }),
    )
    await database
      .prepare(
        `INSERT INTO client_secrets (environment_id, id, application_id, digest, secret_hint, created_at, updated_at, event_id)
          SELECT ?1, value ->> 'id', ?2, unhex(value ->> 'digest'), value ->> 'hint', 1, 1, 'event_0' FROM json_each(?3)`,
      )
      .bind(environmentId, applicationId, JSON.stringify(rows))
      .run()
  }
  return secrets
}

/** The status with which the Worker answers when a client requests a token with this secret. */
export async function requestToken({ origins, fetch }: Served, clientId: string, secret: string, origin = origins[0]) {
  const body = new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId, client_secret: secret })
  const response = await fetch(`${origin}/oauth2/token`, { method: 'POST', body })
  await response.text()
  return response.status
}

/** The rows of a table that belong to an environment, with generated columns. */
export async function rowsOf(database: D1Database, table: string, environmentId: string): Promise<object[]> {
  const owner = table === 'environments' ? 'id' : 'environment_id'
  const { results } = await database
    .prepare(`SELECT * FROM ${table} WHERE ${owner} = ?1 ORDER BY id`)
    .bind(environmentId)
    .all()
  return results
}

/** The number of requests that a command sends to a database. */
export async function requestsOf(
  database: D1Database,
  command: (database: D1Database) => Promise<unknown>,
): Promise<number> {
  const counting = failingAt(database, 0, 'before')
  await command(counting)
  return counting.requests
}

/** Moments at which a command is interrupted: its first three requests of `total`, one in the middle, its last three. */
export function momentsOf(total: number): number[] {
  return [...new Set([1, 2, 3, Math.ceil(total / 2), total - 2, total - 1, total])]
}

/** A database whose request with this number, from 1, fails before or after it takes effect. */
export function failingAt(
  database: D1Database,
  number: number,
  when: 'before' | 'after',
): D1Database & { readonly requests: number } {
  const failing = {
    requests: 0,
    prepare: (sql: string) => database.prepare(sql),
    batch: async (statements: D1PreparedStatement[]) => {
      const isFailing = ++failing.requests === number
      if (isFailing && when === 'before') throw new Error('the line is dead')
      const results = await database.batch(statements)
      if (isFailing) throw new Error('the line is dead')
      return results
    },
  }
  return failing as typeof failing & D1Database
}
