import { iso } from '../requests.ts'

/** An application's client secrets as a plain list with a clock. Every method answers as the API should. */
export const LIMIT = 2
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** Times are Unix milliseconds. */
export interface Secret {
  /** Empty until the API has returned them. */
  id: string
  hint: string
  name: string | null
  expiresAt: number | null
  /** The end of the grace period of the rotation that replaced it. */
  retiresAt: number | null
  isDisabled: boolean
  revokedAt: number | null
  expiryNotedAt: number | null
  readonly createdAt: number
  updatedAt: number
  lastUsedAt: number | null
}

export interface Changes {
  readonly name?: string | null
  readonly expiresAt?: number | null
  readonly isDisabled?: boolean
}

export type IssuingRequest =
  | { readonly kind: 'create'; readonly name: string | null; readonly expiresAt: number | null }
  | { readonly kind: 'rotate'; readonly graceMs: number }

/** The response that the API should return. */
export interface Answer {
  readonly status: number
  readonly code?: string
  /** The wire form. */
  readonly body?: unknown
  /** The secret of a create, a rotation or their replay: its plaintext is in the response. */
  readonly issued?: Secret
  readonly isReplay?: boolean
}

interface Event {
  readonly type: string
  /** The secrets that the event names: one, and those that the same change affected. */
  readonly secrets: Secret[]
  readonly at: number
}

interface Keyed {
  readonly request: string
  readonly at: number
  readonly secret: Secret
  /** As it was created. */
  readonly snapshot: Secret
}

export class SecretModel {
  /** Every secret that cleanup has not removed, oldest first. */
  secrets: Secret[] = []
  events: Event[] = []
  /** Secrets that cleanup has removed. */
  readonly removed: Secret[] = []
  readonly #keyed = new Map<string, Keyed>()
  now: number

  constructor(now: number) {
    this.now = now
  }

  isLive({ revokedAt, expiresAt }: Secret): boolean {
    return revokedAt === null && (expiresAt === null || expiresAt > this.now)
  }

  issue(request: IssuingRequest, key: string | null): Answer {
    const earlier = key === null ? undefined : this.#keyed.get(key)
    if (earlier && this.now - earlier.at < HOUR_MS) {
      if (earlier.request !== JSON.stringify(request)) return { status: 422, code: 'idempotency_key_reused' }
      if (earlier.secret.revokedAt !== null) return { status: 422, code: 'client_secret_revoked' }
      if (earlier.secret.isDisabled) return { status: 422, code: 'client_secret_disabled' }
      if (!this.isLive(earlier.secret)) return { status: 422, code: 'client_secret_expired' }
      this.#record('replayed', [earlier.secret])
      return {
        status: 201,
        body: toWire({ ...earlier.snapshot, id: earlier.secret.id, hint: earlier.secret.hint }),
        issued: earlier.secret,
        isReplay: true,
      }
    }
    if (request.kind === 'create') {
      if (request.expiresAt !== null && request.expiresAt <= this.now)
        return { status: 422, code: 'invalid_request_parameters' }
      if (this.#isAtLimit()) return { status: 422, code: 'client_secret_limit_reached' }
    }
    const others = this.live()
    const secret: Secret = {
      id: '',
      hint: '',
      name: request.kind === 'create' ? request.name : null,
      expiresAt: request.kind === 'create' ? request.expiresAt : null,
      retiresAt: null,
      isDisabled: false,
      revokedAt: null,
      expiryNotedAt: null,
      createdAt: this.now,
      updatedAt: this.now,
      lastUsedAt: null,
    }
    this.secrets.push(secret)
    if (request.kind === 'create') this.#record('created', [secret])
    else {
      this.#retire(others, this.now + request.graceMs)
      this.#record('rotated', [secret, ...others])
    }
    if (key !== null) {
      this.#keyed.set(key, { request: JSON.stringify(request), at: this.now, secret, snapshot: { ...secret } })
    }
    return { status: 201, body: toWire(secret), issued: secret, isReplay: false }
  }

  change(secret: Secret, changes: Changes): Answer {
    if (!this.secrets.includes(secret) || secret.revokedAt !== null) return NOT_FOUND
    if (!this.isLive(secret)) return { status: 422, code: 'client_secret_expired' }
    if (Object.entries(changes).every(([field, value]) => secret[field as keyof Changes] === value))
      return { status: 200, body: toWire(secret) }
    const isKept = isRotatedOut(secret) && !isRotatedOut({ ...secret, ...changes })
    if (isKept && this.#isAtLimit()) return { status: 422, code: 'client_secret_limit_reached' }
    Object.assign(secret, changes, { updatedAt: this.now })
    this.#record('updated', [secret])
    return { status: 200, body: toWire(secret) }
  }

  revoke(secret: Secret): Answer {
    if (!this.secrets.includes(secret)) return NOT_FOUND
    if (secret.revokedAt === null) {
      this.#end([secret])
      this.#record('deleted', [secret])
    }
    return { status: 204 }
  }

  revokeAll(): Answer {
    const live = this.live()
    this.#end(live)
    if (live.length > 0) this.#record('deleted', live)
    return { status: 204 }
  }

  find(secret: Secret): Answer {
    if (!this.secrets.includes(secret) || secret.revokedAt !== null) return NOT_FOUND
    return { status: 200, body: toWire(secret) }
  }

  /** Active and disabled secrets in the order of the list. */
  live(): Secret[] {
    return this.secrets
      .filter((secret) => this.isLive(secret))
      .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
  }

  list(): Answer {
    return { status: 200, body: this.live().map(toWire) }
  }

  /** Whether the secret is valid. If it is, this is a use. */
  verify(secret: Secret): boolean {
    if (!this.secrets.includes(secret) || !this.isLive(secret) || secret.isDisabled) return false
    if (secret.lastUsedAt === null || this.now - secret.lastUsedAt >= MINUTE_MS) secret.lastUsedAt = this.now
    return true
  }

  cleanUp(): void {
    const isOver = (at: number | null, days: number) => at !== null && this.now - at >= days * DAY_MS
    for (const secret of this.secrets) {
      if (this.isLive(secret) || secret.revokedAt !== null || secret.expiryNotedAt !== null) continue
      secret.expiryNotedAt = this.now
      this.#record('expired', [secret])
    }
    const isGone = ({ revokedAt, expiryNotedAt }: Secret) => isOver(revokedAt, 90) || isOver(expiryNotedAt, 90)
    this.removed.push(...this.secrets.filter(isGone))
    this.secrets = this.secrets.filter((secret) => !isGone(secret))
    this.events = this.events.filter(({ at }) => !isOver(at, 365))
  }

  #isAtLimit(): boolean {
    return this.live().filter((secret) => !isRotatedOut(secret)).length >= LIMIT
  }

  #retire(others: Secret[], at: number): void {
    for (const secret of others) {
      secret.retiresAt = at
      secret.expiresAt = Math.min(secret.expiresAt ?? at, at)
      secret.updatedAt = this.now
    }
    const lastToExpire = others
      .filter((secret) => this.isLive(secret))
      .sort((a, b) => (b.expiresAt ?? 0) - (a.expiresAt ?? 0) || (a.id < b.id ? 1 : -1))
    this.#end(lastToExpire.slice(LIMIT))
  }

  #end(secrets: Secret[]): void {
    for (const secret of secrets) Object.assign(secret, { revokedAt: this.now, updatedAt: this.now })
  }

  #record(type: string, secrets: Secret[]): void {
    this.events.push({ type: `connect_application_secret.${type}`, secrets, at: this.now })
  }
}

/** Until its expiry is moved beyond the grace period, it does not count against the limit. */
export function isRotatedOut({ expiresAt, retiresAt }: Pick<Secret, 'expiresAt' | 'retiresAt'>): boolean {
  return expiresAt !== null && retiresAt !== null && expiresAt <= retiresAt
}

const NOT_FOUND: Answer = { status: 404, code: 'entity_not_found' }

/** The secret as the API returns it, except for members that are not known yet. */
function toWire({ id, hint, name, expiresAt, isDisabled, createdAt, updatedAt, lastUsedAt }: Secret): object {
  return {
    object: 'connect_application_secret',
    ...(id && { id, secret_hint: hint }),
    last_used_at: lastUsedAt && iso(lastUsedAt),
    created_at: iso(createdAt),
    updated_at: iso(updatedAt),
    ...(name !== null && { name }),
    ...(expiresAt !== null && { expires_at: iso(expiresAt) }),
    ...(isDisabled && { disabled: true }),
  }
}
