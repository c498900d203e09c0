import { toHex, utf8 } from './digest.ts'

/** The header that WorkOS's SDKs verify. */
export const WEBHOOK_SIGNATURE_HEADER = 'WorkOS-Signature'

/** Signs a webhook's body as WorkOS does: HMAC-SHA-256 of `now` (Unix ms) and the body. Returns the header's value. */
export async function signWebhook(body: string, secret: string, now: number): Promise<string> {
  const key = await crypto.subtle.importKey('raw', utf8(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  const signature = await crypto.subtle.sign('HMAC', key, utf8(`${now}.${body}`))
  return `t=${now}, v1=${toHex(new Uint8Array(signature))}`
}
