import type { D1Migration } from 'cloudflare:test'

declare global {
  namespace Cloudflare {
    interface Env {
      MIGRATIONS: D1Migration[]
      SIGNING_KEY: string
      DB_1: D1Database
      DB_2: D1Database
    }
  }
}
