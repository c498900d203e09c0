import { toHex, utf8 } from './digest.ts'

/** The header that WorkOS's SDKs verify. */
export const WEBHOOK_SIGNATURE_HEADER = 'WorkOS-Signature'

/** Signs a webhook's body as WorkOS does: HMAC-SHA-256 of `now` (unix ms) and the body. Gives the header's value. */
export async function signWebhook(body: string, secret: string, now: number): Promise<string> {
  const key = await crypto.subtle.importKey('raw', utf8(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  const signature = await crypto.subtle.sign('HMAC', key, utf8(`${now}.${body}`))
  return `t=${now}, v1=${toHex(new Uint8Array(signature))}`
}

/**
 * Where webhooks may be sent: https, to a host that has a name. `isLocal` allows this machine too, for development.
 * Null when it is all right, otherwise what is wrong.
 */
export function refuseWebhookUrl(text: string, isLocal: boolean): string | null {
  const url = URL.parse(text)
  if (!url) return 'is not a URL'
  if (url.username || url.password) return 'has a user name or a password in it'
  const host = url.hostname.toLowerCase().replace(/\.+$/, '')
  if (isLocal && (url.protocol === 'http:' || url.protocol === 'https:')) return null
  if (url.protocol !== 'https:') return 'is not https'
  // The URL parser has turned every way of writing an IPv4 address into dotted digits, and IPv6 stands in brackets.
  if (host.startsWith('[') || /^[\d.]+$/.test(host)) return 'is an IP address'
  if (host === 'localhost' || host.endsWith('.localhost') || !host.includes('.'))
    return 'is a name of this machine or network'
  return null
}
