import type { D1Migration } from 'cloudflare:test'

declare global {
  namespace Cloudflare {
    interface Env {
      MIGRATIONS: D1Migration[]
      SIGNING_KEY: string
      /** How many histories the model test tries, and from which seed: empty for any. */
      MODEL_HISTORIES: string
      MODEL_SEED: string
    }
  }
}
