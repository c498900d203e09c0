import { env } from 'cloudflare:workers'

interface Event {
  readonly id: string
  readonly type: string
  readonly caller_id: string
  readonly caller_name: string
  readonly request_id: string
  // biome-ignore lint/suspicious/noExplicitAny: its type depends on the type of the event.
  readonly data: any
}

/** The events of an environment, in their order. */
export async function eventsOf(environmentId: string): Promise<Event[]> {
  const { results } = await env.DB.prepare('SELECT * FROM events WHERE environment_id = ? ORDER BY seq')
    .bind(environmentId)
    .all<Event & { data: string }>()
  return results.map((event) => ({ ...event, data: JSON.parse(event.data) }))
}
