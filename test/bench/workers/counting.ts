import worker from '../../../src/index.ts'
import { counted, type SentStatement } from './counted.ts'

/** The product, with a count of what it asks of its database: for counts and query plans, never for times. */

/** One request to D1. */
export interface SentRequest {
  readonly statements: readonly SentStatement[]
  /** Whether the answer had gone out before. */
  readonly isBehindAnswer: boolean
}

const sent: SentRequest[] = []
let inFlight = 0

function onRequest() {
  const isBehindAnswer = inFlight === 0
  return (statements: readonly SentStatement[]) => void sent.push({ statements, isBehindAnswer })
}

let countedEnv: Env | undefined

export default {
  async fetch(request: Request, env: Env, context: ExecutionContext): Promise<Response> {
    if (new URL(request.url).pathname === '/bench/sent') return Response.json(sent.splice(0))
    countedEnv ??= { ...env, DB: counted(env.DB, onRequest) }
    inFlight++
    try {
      return await worker.fetch(request as Request<unknown, IncomingRequestCfProperties>, countedEnv, context)
    } finally {
      inFlight--
    }
  },

  async scheduled(controller: ScheduledController, env: Env, context: ExecutionContext): Promise<void> {
    await worker.scheduled(controller, { ...env, DB: counted(env.DB, onRequest) }, context)
  },
}
