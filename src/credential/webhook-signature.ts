import { toHex, utf8 } from './digest.ts'

/** The header that WorkOS's SDKs verify. */
export const WEBHOOK_SIGNATURE_HEADER = 'WorkOS-Signature'

/** Signs a webhook's body as WorkOS does: HMAC-SHA-256 of `now` (Unix ms) and the body. Returns the header's value. */
export async function signWebhook(body: string, secret: string, now: number): Promise<string> {
  const key = await crypto.subtle.importKey('raw', utf8(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  const signature = await crypto.subtle.sign('HMAC', key, utf8(`${now}.${body}`))
  return `t=${now}, v1=${toHex(new Uint8Array(signature))}`
}

/** Bounds the time that the patterns below take, which grows with the square of the length. */
const MAX_WEBHOOK_URL_LENGTH = 2048

/**
 * Checks where a webhook may be sent: https, to a host with a public name. `isLocal` also allows this machine, for
 * development. Returns null if the URL is allowed, and otherwise what is wrong with it.
 */
export function refuseWebhookUrl(text: string, isLocal: boolean): string | null {
  if (text.length > MAX_WEBHOOK_URL_LENGTH) return `is longer than ${MAX_WEBHOOK_URL_LENGTH} characters`
  const url = URL.parse(text)
  if (!url) return 'is not a URL'
  if (url.username || url.password) return 'has a user name or a password in it'
  const host = url.hostname.toLowerCase().replace(/\.+$/, '')
  if (isLocal && (url.protocol === 'http:' || url.protocol === 'https:')) return null
  if (url.protocol !== 'https:') return 'is not https'
  // The URL parser turns every notation of an IPv4 address into dotted digits, and writes IPv6 in brackets.
  if (host.startsWith('[') || /^[\d.]+$/.test(host)) return 'is an IP address'
  if (host === 'localhost' || host.endsWith('.localhost') || !host.includes('.'))
    return 'is a name of this machine or network'
  return null
}
