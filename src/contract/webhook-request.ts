import { signWebhook, WEBHOOK_SIGNATURE_HEADER } from '../credential/webhook-signature.ts'
import type { Event } from '../storage/events.ts'
import { eventToWire } from './wire.ts'

/** The request that sends an event to a webhook endpoint, signed with its secret. `now` is Unix ms. */
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
    // A redirect could lead anywhere, this network included, so it counts as a failure.
    redirect: 'manual' as const,
    signal: AbortSignal.timeout(timeoutMs),
  }
}
