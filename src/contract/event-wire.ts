import type { InferOutput } from 'valibot'
import { applicationFromRow } from '../storage/applications.ts'
import { clientSecretFromRow } from '../storage/client-secrets.ts'
import type { Event } from '../storage/events.ts'
import type * as schemas from './events.ts'
import { applicationToWire, clientSecretToWire, timestamp } from './wire.ts'

/** How an event looks outside, in the list and in a webhook. */
export function eventToWire(event: Event): InferOutput<typeof schemas.Event> {
  return {
    object: 'event',
    id: event.id,
    event: event.type,
    data: dataToWire(event),
    created_at: timestamp(event.createdAt),
    context: { api_key: event.apiKey, request_id: event.requestId },
  } as InferOutput<typeof schemas.Event>
}

/** The row of an event goes through the same mappers as every other row. */
function dataToWire({ type, data }: Event): object {
  const touched = data.client_secrets === undefined ? {} : { client_secrets: data.client_secrets }
  if (type.startsWith('connect_application.')) return { ...applicationToWire(applicationFromRow(data)), ...touched }
  // All secrets of an application, revoked at once, have no one row.
  const secret = data.id === undefined ? {} : clientSecretToWire(clientSecretFromRow(data))
  return { ...secret, application_id: data.application_id, ...touched }
}
