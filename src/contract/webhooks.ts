import { containsCredential } from '../credential/credential.ts'
import { toHex, utf8 } from '../credential/digest.ts'
import { newId } from '../credential/id.ts'
import type { Event } from '../storage/events.ts'
import { eventToWire } from './wire.ts'

/** Maximum length of a webhook URL, in characters. */
const MAX_URL_LENGTH = 2048

/** Domains of the local machine and of private networks (RFC 6761, RFC 6762, RFC 8375; ICANN reserved `internal`). */
const PRIVATE_DOMAINS = ['localhost', 'local', 'localdomain', 'internal', 'home.arpa']

/**
 * Returns what is wrong with the URL of a webhook endpoint, or null. Only https to a public host is allowed, so that a
 * webhook cannot reach a private network (CWE-918). For development, `isLocal` also allows http and local hosts.
 */
export function webhookUrlProblem(text: string, isLocal: boolean): string | null {
  if (text.length > MAX_URL_LENGTH) return `is longer than ${MAX_URL_LENGTH} characters`
  const url = URL.parse(text)
  if (!url) return 'is not a URL'
  if (url.username || url.password) return 'has a user name or a password in it'
  if (isLocal && (url.protocol === 'http:' || url.protocol === 'https:')) return null
  if (url.protocol !== 'https:') return 'is not https'
  const labels = url.hostname.toLowerCase().split('.').filter(Boolean)
  const host = labels.join('.')
  // The URL parser converts every notation of an IPv4 address to dotted decimal, and puts brackets around IPv6.
  if (host.startsWith('[') || /^[\d.]+$/.test(host)) return 'is an IP address'
  if (labels.length < 2 || PRIVATE_DOMAINS.some((domain) => `.${host}`.endsWith(`.${domain}`)))
    return 'is a name of this machine or network'
  return null
}

/**
 * Returns what is wrong with the URL of a new endpoint, or null. The URL must not contain a credential, because every
 * caller with read access can see the URL.
 */
export function newWebhookUrlProblem(text: string, isLocal: boolean): string | null {
  return webhookUrlProblem(text, isLocal) ?? (containsCredential(text) ? 'has a credential in it' : null)
}

/** The signature header that WorkOS's SDKs verify. */
const WEBHOOK_SIGNATURE_HEADER = 'WorkOS-Signature'

/**
 * Returns the value of the signature header, as WorkOS computes it: the HMAC-SHA-256 of `now` (Unix ms) and the body.
 */
async function signWebhook(body: string, secret: string, now: number): Promise<string> {
  const key = await crypto.subtle.importKey('raw', utf8(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  const signature = await crypto.subtle.sign('HMAC', key, utf8(`${now}.${body}`))
  return `t=${now}, v1=${toHex(new Uint8Array(signature))}`
}

/** Returns the signed request that sends an event to a webhook endpoint. `now` is Unix ms. */
export async function webhookRequest(event: Event, secret: string, now: number, timeoutMs: number) {
  const body = JSON.stringify(eventToWire(event))
  return {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'User-Agent': 'Oncekey-Webhooks',
      [WEBHOOK_SIGNATURE_HEADER]: await signWebhook(body, secret, now),
    },
    body,
    // A redirect could lead to a private network, so it counts as a failure.
    redirect: 'manual' as const,
    signal: AbortSignal.timeout(timeoutMs),
  }
}

/** Returns an event about a secret that does not exist, for testing a webhook endpoint. `now` is Unix ms. */
export function sampleEvent(now: number, name: string): Event {
  return {
    id: newId('event', now),
    type: 'connect_application_secret.created',
    data: {
      id: newId('secret', now),
      application_id: newId('conn_app', now),
      secret_hint: 'sample',
      name,
      last_used_at: null,
      expires_at: null,
      disabled_at: null,
      created_at: now,
      updated_at: now,
    },
    actor: 'operator',
    apiKey: null,
    sessionId: null,
    person: null,
    requestId: null,
    origin: { address: null, country: null, userAgent: null, clientRequestId: null },
    createdAt: now,
  }
}
