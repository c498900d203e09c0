import { applyD1Migrations, env, reset } from 'cloudflare:test'

// No test file sees the rows of another.
await reset()
await applyD1Migrations(env.DB, env.MIGRATIONS)
