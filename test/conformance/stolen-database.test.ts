import { copyFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { beforeAll, expect, test } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { deriveEntropy, idempotencyDigest } from '../../src/credential/derivation.ts'
import type { Bytes } from '../../src/credential/digest.ts'
import { newApiKey } from '../operator.ts'
import { m2mApplication, secretsOf } from '../requests.ts'
import { serve } from '../served.ts'
import { managementOf } from './management.ts'

/**
 * A thief with a copy of the database and an Idempotency-Key finds the record of the create, the salt and the digest of
 * the request. Only the API key is missing.
 */
const served = await serve()
const { apiKey } = await newApiKey(served.database)
const idempotencyKey = crypto.randomUUID()

let secret: string
let copy: DatabaseSync

beforeAll(async () => {
  const call = managementOf(served, apiKey)
  const { id } = (await call('POST', '/connect/applications', { body: m2mApplication })).json
  secret = (await call('POST', secretsOf(id), { headers: { 'Idempotency-Key': idempotencyKey } })).json.secret
  await served.stop()
  const files = await readdir(served.directory, { recursive: true })
  for (const file of files) {
    const [, name] = /D1DatabaseObject.[0-9a-f]{64}(\.sqlite(?:-wal)?)$/.exec(file) ?? []
    if (name) await copyFile(join(served.directory, file), join(served.directory, `stolen${name}`))
  }
  copy = new DatabaseSync(join(served.directory, 'stolen.sqlite'))
  return () => copy.close()
})

/** The record of the create, as a thief would look for it. */
async function stolenRecord() {
  const keys = copy.prepare('SELECT digest FROM api_keys').all() as { digest: Bytes }[]
  const record = copy.prepare(
    `SELECT salt, request_digest, client_secrets.digest AS secret_digest FROM idempotency_records AS record
      JOIN events ON events.id = record.event_id JOIN client_secrets ON client_secrets.id = events.data ->> 'id'
      WHERE record.digest = ?`,
  )
  for (const { digest } of keys) {
    const found = record.get(await idempotencyDigest(digest, idempotencyKey))
    if (found) return found as { salt: Bytes; request_digest: Bytes; secret_digest: Bytes }
  }
  throw new Error('the copy has no record of this key')
}

/** Derives from the copied rows as the Worker does, with `key` in place of the API key. */
async function derive(key: string) {
  const { salt, request_digest, secret_digest } = await stolenRecord()
  const { plaintext, digest } = await issueCredential('cs', '0', await deriveEntropy(key, salt, request_digest))
  return { plaintext, isIt: Buffer.from(digest).equals(secret_digest) }
}

/** Every value of every table, in every text form that a thief could feed to the derivation. */
function everythingStolen(): Set<string> {
  const tables = copy.prepare(`SELECT name FROM sqlite_schema WHERE type = 'table'`).all() as { name: string }[]
  const values = tables.flatMap(({ name }) => copy.prepare(`SELECT * FROM "${name}"`).all()).flatMap(Object.values)
  return new Set(
    values.flatMap((value) => {
      if (!(value instanceof Uint8Array)) return [`${value}`]
      const bytes = Buffer.from(value)
      return [bytes.toString('hex'), bytes.toString('base64'), bytes.toString('base64url'), bytes.toString('latin1')]
    }),
  )
}

test('with a copy of the rows and the API key, the secret can be derived', async () => {
  expect(await derive(apiKey)).toEqual({ plaintext: secret, isIt: true })
})

test('with any value of the copy or the Idempotency-Key in place of the API key, the secret cannot be derived', async () => {
  const candidates = everythingStolen()
  expect(candidates.size).toBeGreaterThan(30)
  expect(candidates).not.toContain(apiKey)
  const { plaintext: anotherApiKey } = await issueCredential('sk', '0')
  for (const candidate of [...candidates, idempotencyKey, '', anotherApiKey]) {
    expect((await derive(candidate)).isIt, candidate).toBe(false)
  }
})
