import { issueCredential } from '../src/credential/credential.ts'
import { newId } from '../src/credential/id.ts'
import type { KeyLimits } from '../src/storage/api-keys.ts'
import type { Access } from '../src/storage/caller.ts'
import type { Database } from '../src/storage/database.ts'
import { createApiKey } from '../src/storage/operator/api-keys.ts'
import { createEnvironment } from '../src/storage/operator/environments.ts'

/** Sets up keys and environments as an operator does, in any database, inside the runtime or outside it. */

/** The region of the tests' database: second-region/ chooses another one. */
export const home = { region: '0' }

/** A database for operators' functions, outside any request. */
export function operatorDatabase(binding: D1Database, region = home.region): Database {
  return { region, binding, deadline: Date.now() + 10_000, waitUntil: () => {} }
}

export interface KeyOptions extends Partial<KeyLimits> {
  /** The ID of the key, if it must be known before the database is. */
  readonly id?: string
  /** The region of the database. */
  readonly region?: string
  readonly access?: Access
  readonly name?: string
  readonly environmentId?: string
}

/** Removes the operator's events, so that a test sees only those of what it does. */
export async function forgetOperatorEvents(binding: D1Database): Promise<void> {
  await binding.prepare("DELETE FROM events WHERE actor_type = 'operator'").run()
}

/** Makes an API key, and an environment for it unless one is given. */
export async function newApiKey(
  binding: D1Database,
  {
    region = home.region,
    id = newId('api_key', Date.now(), region),
    access = 'write',
    name = 'test',
    environmentId,
    ...limits
  }: KeyOptions = {},
) {
  const now = Date.now()
  const database = operatorDatabase(binding, region)
  const environment = environmentId
    ? { id: environmentId }
    : await createEnvironment(database, {
        id: newId('env', now, region),
        clientId: newId('client', now, region),
        name: crypto.randomUUID(),
        createdAt: now,
      })
  const { plaintext, digest } = await issueCredential('sk', region)
  const named = { id, environmentId: environment.id, name }
  await createApiKey(database, { ...named, digest, access, ...limits, createdAt: now })
  await forgetOperatorEvents(binding)
  return { id, environmentId: environment.id, apiKey: plaintext, digest }
}
