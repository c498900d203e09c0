import { Hono } from 'hono'
import * as schemas from '../contract/events.ts'
import { cursorParameter, eventToWire, listToWire, pageFromWire } from '../contract/wire.ts'
import { requireApiKey } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { validQuery } from '../http/validation.ts'
import { listEvents } from '../storage/events.ts'

export const events = new Hono<HonoEnv>().get('/', requireApiKey('read'), validQuery(schemas.ListEvents), async (c) => {
  const query = c.req.valid('query')
  const outcome = await listEvents(c.var.database, c.var.caller, {
    ...pageFromWire(query),
    types: query.events,
    organizationId: query.organization_id ?? null,
    from: query.range_start ?? null,
    until: query.range_end ?? null,
  })
  const { events, ...cursors } = granted(c, outcome, { field: cursorParameter(query) })
  return c.json(listToWire(query, events.map(eventToWire), cursors))
})
