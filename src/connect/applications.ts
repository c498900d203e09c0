import { Hono } from 'hono'
import type { InferOutput } from 'valibot'
import * as schemas from '../contract/applications.ts'
import { applicationFromWire, applicationToWire, redirectUris } from '../contract/wire.ts'
import { newId } from '../credential/id.ts'
import { changeOf, requireApiKey } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { type ApiError, granted, invalidParameter } from '../http/errors.ts'
import { keyedRequest } from '../http/idempotency-key.ts'
import { readSettings } from '../http/settings.ts'
import { validJson, validQuery } from '../http/validation.ts'
import {
  createApplication,
  deleteApplication,
  findApplication,
  type ListOptions,
  listApplications,
  type Page,
  updateApplication,
} from '../storage/applications.ts'
import { identify } from '../storage/batch.ts'

export const applications = new Hono<HonoEnv>()

  .post('/', requireApiKey('write'), validJson(schemas.CreateApplication), async (c) => {
    const { database, caller } = c.var
    const change = changeOf(c)
    const application = {
      id: newId('conn_app', change.now, caller.region),
      clientId: newId('client', change.now, caller.region),
      ...applicationFromWire(c.req.valid('json')),
    }
    const limit = readSettings(c.env).MAX_APPLICATIONS_PER_ENVIRONMENT
    const created = granted(c, await createApplication(database, change, application, limit, await keyedRequest(c)))
    if (created.isReplay) c.header('Idempotent-Replayed', 'true')
    return c.json(applicationToWire(created.application), 201)
  })

  .get('/', requireApiKey('read'), validQuery(schemas.ListApplications), async (c) => {
    const { database, caller } = c.var
    const query = c.req.valid('query')
    if (!query.registration_types.includes('authenticated')) {
      granted(c, await identify(database, caller, 'read'))
      return c.json(listToWire(query.order, NOBODY_REGISTERED_DYNAMICALLY))
    }
    const outcome = await listApplications(database, caller, listOptions(query))
    if ('refused' in outcome && outcome.refused === 'invalid_cursor') throw unknownCursor(query)
    return c.json(listToWire(query.order, granted(c, outcome)))
  })

  .get('/:id', requireApiKey('read'), async (c) => {
    const id = c.req.param('id')
    return c.json(applicationToWire(granted(c, await findApplication(c.var.database, c.var.caller, id), id)))
  })

  .put('/:id', requireApiKey('write'), validJson(schemas.UpdateApplication), async (c) => {
    const id = c.req.param('id')
    const input = c.req.valid('json')
    const changes = {
      name: input.name,
      description: input.description,
      scopes: input.scopes ?? undefined,
      redirectUris: input.redirect_uris ? redirectUris(input.redirect_uris) : undefined,
    }
    const outcome = await updateApplication(c.var.database, changeOf(c), id, changes)
    if ('refused' in outcome && outcome.refused === 'redirect_uris_not_allowed') {
      throw invalidParameter('redirect_uris', 'redirect_uris_not_allowed')
    }
    return c.json(applicationToWire(granted(c, outcome, id)))
  })

  .delete('/:id', requireApiKey('write'), async (c) => {
    const id = c.req.param('id')
    granted(c, await deleteApplication(c.var.database, changeOf(c), id), id)
    return c.body(null, 204)
  })

type ListQuery = InferOutput<typeof schemas.ListApplications>

const NOBODY_REGISTERED_DYNAMICALLY: Page = { applications: [], before: null, after: null }

/**
 * WorkOS's orders: `normal` shows the newest first, as `desc` does, but there `after` leads to newer ones, so against
 * the order of the page, and `before` to older ones.
 */
function listOptions({ limit, order, before, after, organization_id }: ListQuery): ListOptions {
  const [onwards, back] = order === 'normal' ? [before, after] : [after, before]
  const id = onwards ?? back
  return {
    limit,
    order: order === 'asc' ? 'asc' : 'desc',
    cursor: id === undefined ? null : { id, side: onwards === undefined ? 'before' : 'after' },
    organizationId: organization_id ?? null,
  }
}

function listToWire(
  order: ListQuery['order'],
  { applications, before, after }: Page,
): InferOutput<typeof schemas.ApplicationList> {
  return {
    object: 'list',
    data: applications.map(applicationToWire),
    list_metadata: order === 'normal' ? { before: after, after: before } : { before, after },
  }
}

function unknownCursor({ before }: ListQuery): ApiError {
  return invalidParameter(before === undefined ? 'after' : 'before', 'unknown_application')
}
