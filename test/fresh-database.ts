import { applyD1Migrations, env, reset } from 'cloudflare:test'
import { inject } from 'vitest'

// No test file sees the rows of another.
await reset()
await applyD1Migrations(env.DB, env.MIGRATIONS)
if (inject('home') !== '0')
  for (const database of [env.DB_1, env.DB_2]) await applyD1Migrations(database, env.MIGRATIONS)
