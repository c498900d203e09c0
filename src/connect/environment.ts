import { Hono } from 'hono'
import { UpdateEnvironment } from '../contract/environments.ts'
import { environmentToWire, settingsFromWire } from '../contract/wire.ts'
import { beginChange, requireApiKey } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { validJson } from '../http/validation.ts'
import { changeEnvironment, changeOfEnvironment, findEnvironment } from '../storage/environments.ts'

/** Routes for the caller's environment. */
export const environment = new Hono<HonoEnv>()

  .get('/', requireApiKey('read'), async (c) => {
    return c.json(environmentToWire(granted(c, await findEnvironment(c.get('database'), c.get('caller'), 'read'))))
  })

  .patch('/', requireApiKey('write'), validJson(UpdateEnvironment), async (c) => {
    const change = beginChange(c)
    const changes = changeOfEnvironment(settingsFromWire(c.req.valid('json')), change.now)
    return c.json(environmentToWire(granted(c, await changeEnvironment(c.get('database'), change, changes))))
  })
