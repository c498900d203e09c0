import { env } from 'cloudflare:workers'
import type { Sql } from 'sql-template-tag'
import { vi } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import type { Caller, Change, Origin } from '../../src/storage/caller.ts'
import type { Database } from '../../src/storage/database.ts'
import { type newApiKey, operatorDatabase } from '../api.ts'

/** Changes that are made by storage functions, without a request. */

export type Key = Awaited<ReturnType<typeof newApiKey>>

export const callerOf = ({ digest }: Pick<Key, 'digest'>): Caller => ({ kind: 'api_key', digest })

export function changeBy(caller: Caller, now: number, origin: Origin | null = null): Change {
  return { caller, eventId: newId('event', now), requestId: 'r', now, origin }
}

/** The rows of a statement, which is sent without a caller. */
export async function rowsOf<Row = Record<string, unknown>>(query: Sql): Promise<Row[]> {
  const { results } = await env.DB.prepare(query.sql)
    .bind(...query.values)
    .all<Row>()
  return results
}

/** Runs a change that is too late by D1's clock. The Worker's is a minute behind, so that it still waits for the reply. */
export async function tooLate<T>(run: (database: Database) => Promise<T>): Promise<T> {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 60_000 })
  try {
    return await run(operatorDatabase())
  } finally {
    vi.useRealTimers()
  }
}
