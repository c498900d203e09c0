import { Hono } from 'hono'
import * as schemas from '../contract/events.ts'
import { eventToWire } from '../contract/wire.ts'
import { requireApiKey } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted, invalidParameter } from '../http/errors.ts'
import { validQuery } from '../http/validation.ts'
import { listEvents } from '../storage/events.ts'

export const events = new Hono<HonoEnv>().get('/', requireApiKey('read'), validQuery(schemas.ListEvents), async (c) => {
  const query = c.req.valid('query')
  const outcome = await listEvents(c.var.database, c.var.caller, {
    limit: query.limit,
    order: query.order,
    cursor: query.after === undefined ? null : { id: query.after, side: 'after' },
    types: query.events,
    organizationId: query.organization_id ?? null,
    from: query.range_start === undefined ? null : Date.parse(query.range_start),
    until: query.range_end === undefined ? null : Date.parse(query.range_end),
  })
  if ('refused' in outcome && outcome.refused === 'invalid_cursor') {
    throw invalidParameter('after', 'unknown_event')
  }
  const { events, after } = granted(c, outcome)
  return c.json({ object: 'list', data: events.map(eventToWire), list_metadata: { after } })
})
