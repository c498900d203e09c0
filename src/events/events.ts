import { Hono } from 'hono'
import * as schemas from '../contract/events.ts'
import { cursorParameter, eventToWire, listToWire, pageFromWire } from '../contract/wire.ts'
import { requireApiKey } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { validQuery } from '../http/validation.ts'
import { identify } from '../storage/batch.ts'
import { EVENT_TYPES, listEvents } from '../storage/events.ts'

export const events = new Hono<HonoEnv>().get(
  '/',
  requireApiKey('events:read'),
  validQuery(schemas.ListEvents),
  async (c) => {
    const query = c.req.valid('query')
    const types = EVENT_TYPES.filter((type) => query.events.includes(type))
    // If all requested types are unknown, the list is empty.
    if (query.events.length > 0 && types.length === 0) {
      granted(c, await identify(c.get('database'), c.get('caller'), 'events:read'))
      return c.json(listToWire(query, [], { before: null, after: null }))
    }
    const outcome = await listEvents(c.get('database'), c.get('caller'), {
      ...pageFromWire(query),
      types,
      organizationId: query.organization_id ?? null,
      from: query.range_start ?? null,
      until: query.range_end ?? null,
    })
    const { items, ...cursors } = granted(c, outcome, { field: cursorParameter(query) })
    return c.json(listToWire(query, items.map(eventToWire), cursors))
  },
)
