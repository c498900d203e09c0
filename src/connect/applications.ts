import { Hono } from 'hono'
import * as schemas from '../contract/applications.ts'
import {
  applicationFromWire,
  applicationToWire,
  cursorParameter,
  listToWire,
  pageFromWire,
  redirectUris,
} from '../contract/wire.ts'
import { newId } from '../credential/id.ts'
import { beginChange, requireApiKey } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { keyedRequest, validJson, validQuery } from '../http/validation.ts'
import {
  createApplication,
  deleteApplication,
  findApplication,
  listApplications,
  updateApplication,
} from '../storage/applications.ts'
import { identify } from '../storage/batch.ts'

export const applications = new Hono<HonoEnv>()

  .post('/', requireApiKey('applications:write'), validJson(schemas.CreateApplication), async (c) => {
    const database = c.get('database')
    const caller = c.get('caller')
    const request = await keyedRequest(c)
    const change = beginChange(c)
    const application = {
      id: newId('conn_app', change.now, caller.region),
      clientId: newId('client', change.now, caller.region),
      ...applicationFromWire(c.req.valid('json')),
    }
    const limit = readSettings(c.env).MAX_APPLICATIONS_PER_ENVIRONMENT
    const created = granted(c, await createApplication(database, change, application, limit, request))
    if (created.isReplay) c.header('Idempotent-Replayed', 'true')
    return c.json(applicationToWire(created.application), 201)
  })

  .get('/', requireApiKey('secrets:read'), validQuery(schemas.ListApplications), async (c) => {
    const database = c.get('database')
    const caller = c.get('caller')
    const query = c.req.valid('query')
    // Oncekey has no dynamic registration, so the response is empty unless the query includes `authenticated`.
    if (!query.registration_types.includes('authenticated')) {
      granted(c, await identify(database, caller, 'secrets:read'))
      return c.json(listToWire(query, [], { before: null, after: null }))
    }
    const options = { ...pageFromWire(query), organizationId: query.organization_id ?? null }
    const outcome = await listApplications(database, caller, options)
    const { items, ...cursors } = granted(c, outcome, { field: cursorParameter(query) })
    return c.json(listToWire(query, items.map(applicationToWire), cursors))
  })

  .get('/:id', requireApiKey('secrets:read'), async (c) => {
    const id = c.req.param('id')
    return c.json(applicationToWire(granted(c, await findApplication(c.get('database'), c.get('caller'), id), id)))
  })

  .put('/:id', requireApiKey('applications:write'), validJson(schemas.UpdateApplication), async (c) => {
    const id = c.req.param('id')
    const input = c.req.valid('json')
    const changes = {
      name: input.name,
      description: input.description,
      scopes: input.scopes ?? undefined,
      redirectUris: input.redirect_uris ? redirectUris(input.redirect_uris) : undefined,
    }
    const outcome = await updateApplication(c.get('database'), beginChange(c), id, changes)
    return c.json(applicationToWire(granted(c, outcome, id)))
  })

  .delete('/:id', requireApiKey('applications:write'), async (c) => {
    const id = c.req.param('id')
    granted(c, await deleteApplication(c.get('database'), beginChange(c), id), id)
    return c.body(null, 204)
  })
