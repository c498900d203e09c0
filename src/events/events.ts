import { Hono } from 'hono'
import * as schemas from '../contract/events.ts'
import { eventToWire } from '../contract/wire.ts'
import { requireApiKey } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { validQuery } from '../http/validation.ts'
import { listEvents } from '../storage/events.ts'

export const events = new Hono<HonoEnv>().get('/', requireApiKey('read'), validQuery(schemas.ListEvents), async (c) => {
  const query = c.req.valid('query')
  const outcome = await listEvents(c.var.database, c.var.caller, {
    limit: query.limit,
    order: query.order,
    after: query.after ?? null,
    types: query.events,
    organizationId: query.organization_id ?? null,
    from: query.range_start ?? null,
    until: query.range_end ?? null,
  })
  const page = granted(c, outcome)
  const last = page.hasMore ? page.events.at(-1) : undefined
  return c.json({ object: 'list', data: page.events.map(eventToWire), list_metadata: { after: last?.id ?? null } })
})
