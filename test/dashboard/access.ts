import type { JWTPayload } from 'jose'
import { vi } from 'vitest'
import { AccessTeam, ASSERTION_HEADER } from '../access-team.ts'
import { Visitor } from './pages.ts'

/** A team with a domain of its own, so that no test meets the keys that another has fetched. */
export class Team extends AccessTeam {
  /** The response of the address of the public keys. */
  answer: (signal: AbortSignal) => Promise<Response> = async () => Response.json({ keys: [this.jwk] })
  /** The requests for the public keys. */
  readonly fetched: string[] = []

  /** Answers the Worker's requests for the public keys. */
  constructor() {
    super(`https://${crypto.randomUUID()}.cloudflareaccess.com`)
    vi.stubGlobal('fetch', (url: string, { signal }: { signal: AbortSignal }) => {
      this.fetched.push(url)
      return this.answer(signal)
    })
  }

  /** A browser whose requests come through Access. */
  async visitor(apiKeyId: string, others?: JWTPayload): Promise<Visitor> {
    const visitor = new Visitor()
    visitor.bindings = this.settings(apiKeyId)
    visitor.headers = { [ASSERTION_HEADER]: await this.assertion(others) }
    return visitor
  }

  /** The same browser, signed in. */
  async signedIn(apiKeyId: string, others?: JWTPayload): Promise<Visitor> {
    const visitor = await this.visitor(apiKeyId, others)
    const reply = await signInThroughAccess(visitor)
    if (reply.status !== 303) throw new Error(`the sign-in returned ${reply.status}`)
    await visitor.get('/dashboard')
    return visitor
  }
}

export const signInThroughAccess = (visitor: Visitor) => visitor.post('/dashboard/sign-in', { through: 'access' })
