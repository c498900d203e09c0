import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'

/** A team in Cloudflare Access, as a Worker behind it sees the team: its public keys, and its assertions about people. */

export const ASSERTION_HEADER = 'Cf-Access-Jwt-Assertion'
export const EMAIL = 'ada@example.com'
const HOUR_SECONDS = 3_600

const { privateKey, publicKey } = await generateKeyPair('RS256')
const jwk = { ...(await exportJWK(publicKey)), use: 'sig', alg: 'RS256' }

interface Signing {
  readonly alg?: string
  readonly kid?: string
  readonly key?: Parameters<SignJWT['sign']>[0]
}

export class AccessTeam {
  readonly domain: string
  /** Each application of the team has a tag. */
  readonly tag = newTag()
  kid: string = crypto.randomUUID()

  constructor(domain: string) {
    this.domain = domain
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
}

export function newTag(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(32)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
