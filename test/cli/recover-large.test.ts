import { expect, test } from 'vitest'
import { serve } from '../served.ts'
import { size } from '../sizes.ts'
import { newFolder } from './folder.ts'
import { populate, requestToken } from './populated.ts'
import { recoveryOf } from './recovering.ts'
import { keep } from './snapshots.ts'

/** Several batches of revocations. */
const SECRETS = size(1_000, 10_000)

test(`if a recovery of ${SECRETS} revocations is interrupted halfway, all revoked secrets stay refused, and the next run completes`, {
  timeout: 180_000,
}, async () => {
  const vars = (worker: number) => (worker === 1 ? { MAINTENANCE: 'true' } : {})
  const served = await serve({ workers: 2, tokens: 'ES256', rateLimits: false, vars })
  const { database, origins } = served
  const [open, closed] = origins
  const { large, secrets } = await populate({ ...served, origins: [open] }, { bulk: SECRETS })
  // Some secrets have as many scopes as they can. Together, these are more than D1 accepts in one string.
  const scopes = JSON.stringify(Array.from({ length: 100 }, (_, i) => `${i}`.padEnd(128, 'x')))
  const ids = JSON.stringify(secrets.slice(0, 300).map(({ id }) => id))
  const limit = 'UPDATE client_secrets SET allowed_scopes = ?1 WHERE id IN (SELECT value FROM json_each(?2))'
  await database.prepare(limit).bind(scopes, ids).run()
  const { restore } = await keep(database, 'then')
  const time = new Date()
  const ofLarge = `client_secrets WHERE application_id = '${large.id}'`
  const revoke = 'UPDATE client_secrets SET revoked_at = ?1, updated_at = ?1 WHERE application_id = ?2'
  await database.prepare(revoke).bind(Date.now(), large.id).run()
  const countOf = (rows: string) => database.prepare(`SELECT count(*) AS count FROM ${rows}`).first<number>('count')
  const answers = (origin: string) =>
    Promise.all(
      [0, SECRETS / 2, SECRETS - 1].map((i) =>
        requestToken({ ...served, fetch: globalThis.fetch }, large.client_id, `${secrets[i]?.secret}`, origin),
      ),
    )

  let applied = 0
  const recovery = recoveryOf({ database, open, closed: `${closed}`, time, restore }, await newFolder(), async () => {
    const before = applied
    applied = (await countOf(`${ofLarge} AND revoked_at IS NOT NULL`)) ?? 0
    if (before >= SECRETS / 2 || applied < SECRETS / 2 || applied === SECRETS) return
    expect(await answers(`${closed}`)).toEqual([503, 503, 503])
    throw new Error('The process was killed.')
  })
  await expect(recovery.run()).rejects.toThrow('killed')
  expect((await recovery.run()).applied).toEqual({ client_secrets: SECRETS })
  expect(await countOf(`${ofLarge} AND revoked_at IS NOT NULL`)).toBe(SECRETS)
  expect(await countOf("events WHERE type = 'connect_application_secret.deleted' AND actor_type = 'operator'")).toBe(
    SECRETS,
  )
  expect(await answers(open)).toEqual([401, 401, 401])
})
