import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import { vi } from 'vitest'
import { Visitor } from './pages.ts'

/** Cloudflare Access as a Worker behind it sees it: the public keys of a team, and assertions about people. */

export const EMAIL = 'ada@example.com'
const HOUR_SECONDS = 3_600

const { privateKey, publicKey } = await generateKeyPair('RS256')
const jwk = { ...(await exportJWK(publicKey)), use: 'sig', alg: 'RS256' }

interface Signing {
  readonly alg?: string
  readonly kid?: string
  readonly key?: Parameters<SignJWT['sign']>[0]
}

/** A team in Cloudflare Access, with a domain of its own, so that no test meets the keys that another has fetched. */
export class Team {
  readonly domain = `https://${crypto.randomUUID()}.cloudflareaccess.com`
  /** Each application of the team has a tag. */
  readonly tag = newTag()
  kid: string = crypto.randomUUID()
  /** The response of the address of the public keys. */
  answer: (signal: AbortSignal) => Promise<Response> = async () => Response.json({ keys: [this.jwk] })
  /** The requests for the public keys. */
  readonly fetched: string[] = []

  /** Answers the Worker's requests for the public keys. */
  constructor() {
    vi.stubGlobal('fetch', (url: string, { signal }: { signal: AbortSignal }) => {
      this.fetched.push(url)
      return this.answer(signal)
    })
  }

  get jwk() {
    return { ...jwk, kid: this.kid }
  }

  /** The settings of a Worker behind this team, whose people act with an API key. */
  settings(apiKeyId: string): Pick<Env, 'ACCESS_TEAM_DOMAIN' | 'ACCESS_AUDIENCES'> {
    return { ACCESS_TEAM_DOMAIN: this.domain, ACCESS_AUDIENCES: `${this.tag}=${apiKeyId}` }
  }

  /** The claims that Cloudflare documents for a person, and others in their place. Undefined removes a claim. */
  claims(others: JWTPayload = {}): JWTPayload {
    const now = Math.floor(Date.now() / 1000)
    return {
      aud: [this.tag],
      email: EMAIL,
      exp: now + HOUR_SECONDS,
      iat: now,
      nbf: now,
      iss: this.domain,
      type: 'app',
      identity_nonce: '6ei69kawdKzMIAPF',
      sub: '7335d417-61da-459d-899c-0a01c76a2f94',
      country: 'NL',
      ...others,
    }
  }

  /** An assertion with these claims. */
  assertion(others?: JWTPayload, { alg = 'RS256', kid = this.kid, key = privateKey }: Signing = {}): Promise<string> {
    return new SignJWT(this.claims(others)).setProtectedHeader({ alg, kid, typ: 'JWT' }).sign(key)
  }

  /** A browser whose requests come through Access. */
  async visitor(apiKeyId: string, others?: JWTPayload): Promise<Visitor> {
    const visitor = new Visitor()
    visitor.bindings = this.settings(apiKeyId)
    visitor.headers = { 'Cf-Access-Jwt-Assertion': await this.assertion(others) }
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

export function newTag(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(32)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

export const signInThroughAccess = (visitor: Visitor) => visitor.post('/dashboard/sign-in', { through: 'access' })
