import { describe, expect, test } from 'vitest'
import { type Bootstrap, bootstrap } from '../../src/cli/bootstrap.ts'
import { operatorDatabase } from '../../src/cli/local-database.ts'
import { sha256 } from '../../src/credential/digest.ts'
import { findApplication } from '../../src/storage/applications.ts'
import { findApiKey, revokeApiKey } from '../../src/storage/operator/api-keys.ts'
import { newDatabase } from './databases.ts'

const newOperatorDatabase = async () => operatorDatabase(await newDatabase())

describe('the bootstrap of an environment at a later start', () => {
  const made = async () => {
    const database = await newOperatorDatabase()
    return { database, kept: await bootstrap(database, 'development') }
  }

  test('a later start uses the same API key and application', async () => {
    const { database, kept } = await made()
    expect(await bootstrap(database, 'development', kept)).toEqual(kept)
  })

  test('a later start stores the saved API key in the database if an earlier start ended before it did so', async () => {
    const { kept } = await made()
    const database = await newOperatorDatabase()
    const now = await bootstrap(database, 'development', kept)
    expect(now.apiKey).toBe(kept.apiKey)
    const digest = await sha256(now.apiKey)
    expect(await findApplication(database, { kind: 'api_key', digest }, now.application.id)).toHaveProperty('granted')
  })

  test('a later start replaces a revoked API key, and saves the new one', async () => {
    const { database, kept } = await made()
    const key = await findApiKey(database, { digest: await sha256(kept.apiKey) })
    await revokeApiKey(database, key?.id ?? '', Date.now())
    const keep: Bootstrap[] = []
    const now = await bootstrap(database, 'development', kept, async (made) => {
      keep.push(made)
    })
    expect(now.apiKey).not.toBe(kept.apiKey)
    expect(keep).toEqual([now])
    expect(await bootstrap(database, 'development', now)).toEqual(now)
  })

  test('a later start replaces a saved API key that is malformed or of another environment', async () => {
    const { database, kept } = await made()
    const malformed = { ...kept, apiKey: 'sk_0nonsense' }
    expect((await bootstrap(database, 'development', malformed)).apiKey).toMatch(/^sk_0\w{49}$/)
    expect((await bootstrap(database, 'staging', kept)).apiKey).not.toBe(kept.apiKey)
  })

  test('a later start keeps the API key if only the application is missing', async () => {
    const { database, kept } = await made()
    const elsewhere = { ...kept, application: { id: 'conn_app_x', clientId: 'client_x' } }
    const now = await bootstrap(database, 'development', elsewhere)
    expect(now.apiKey).toBe(kept.apiKey)
    const digest = await sha256(now.apiKey)
    const found = await findApplication(database, { kind: 'api_key', digest }, now.application.id)
    expect(found).toMatchObject({ granted: { name: 'Example' } })
  })
})
