import worker from '../../../src/index.ts'

/** The product at a place that is far from its databases. */
interface DistantEnv extends Env {
  /** Round trips to the databases in milliseconds, by binding, as JSON. */
  readonly ROUND_TRIPS: string
}

/** Half of a round trip passes before D1 receives a batch, and half after its answer. */
function distant(binding: D1Database, roundTripMs: number) {
  const half = () => new Promise((resolve) => setTimeout(resolve, roundTripMs / 2))
  return {
    prepare: (sql: string) => binding.prepare(sql),
    batch: async (statements: D1PreparedStatement[]) => {
      await half()
      const results = await binding.batch(statements)
      await half()
      return results
    },
  }
}

/** One object for all requests, as the platform has it. */
let distantEnv: DistantEnv | undefined

function withDistances(env: DistantEnv): DistantEnv {
  const bindings = env as unknown as Record<string, D1Database>
  const roundTrips = Object.entries<number>(JSON.parse(env.ROUND_TRIPS))
  const databases = roundTrips.map(([name, roundTripMs]) => [name, distant(bindings[name] as D1Database, roundTripMs)])
  return { ...env, ...Object.fromEntries(databases) }
}

export default {
  async fetch(request: Request, env: DistantEnv, context: ExecutionContext): Promise<Response> {
    distantEnv ??= withDistances(env)
    return worker.fetch(request as Request<unknown, IncomingRequestCfProperties>, distantEnv, context)
  },
}
