import sql, { type Sql } from 'sql-template-tag'
import { newId, regionOfId } from '../../credential/id.ts'
import { isLatestOfEnvironment } from '../caller-conditions.ts'
import { type Database, type Query, query, sendBatch, type UnixMs } from '../database.ts'
import { type EnvironmentChange, environmentMapping, type Environment as WholeEnvironment } from '../environments.ts'
import { mapping } from '../mapping.ts'
import { recordOperatorEvent } from './events.ts'

/** An environment in a list. Only the operator can create environments and see all of them. */
export type Environment = Pick<WholeEnvironment, 'id' | 'clientId' | 'name' | 'createdAt'>

/**
 * These columns exist in all schema versions, so that a command can list the environments before it migrates the
 * database.
 */
const { columns, fromRow } = mapping<Environment>('environments', {
  id: 'id',
  clientId: 'client_id',
  name: 'name',
  createdAt: 'created_at',
})

/** Creates an environment, unless one with this name exists. Returns the environment with this name. */
export async function createEnvironment(database: Database, environment: Environment): Promise<Environment> {
  const { id, clientId, name, createdAt } = environment
  const { environments } = await sendBatch(database, {
    created: query(sql`INSERT INTO environments (id, client_id, name, created_at)
      VALUES (${id}, ${clientId}, ${name}, ${createdAt}) ON CONFLICT DO NOTHING`),
    environments: selectEnvironments(sql`name = ${name}`),
  })
  return environments[0] ? fromRow(environments[0]) : environment
}

/** Returns all environments, oldest first. */
export async function listEnvironments(database: Database): Promise<Environment[]> {
  const { environments } = await sendBatch(database, { environments: selectEnvironments(sql`true`) })
  return environments.map(fromRow)
}

/** Changes an environment and returns it. If all values are already set, no event is recorded. */
export async function changeEnvironmentOf(
  database: Database,
  id: string,
  now: UnixMs,
  { type, set, isDue, data }: EnvironmentChange,
): Promise<WholeEnvironment> {
  const eventId = newId('event', now, regionOfId(id))
  const target = sql`environments AS target WHERE target.id = ${id}`
  const { environment } = await sendBatch(database, {
    event: recordOperatorEvent(type, id, now, data, sql`${target} AND ${isDue}`, eventId),
    changed: query(
      sql`UPDATE environments AS target SET ${set} WHERE id = ${id} AND ${isLatestOfEnvironment(eventId)}`,
    ),
    environment: query<object>(sql`SELECT ${environmentMapping.columns} FROM ${target}`),
  })
  return environmentMapping.fromRow(environment[0] as object)
}

function selectEnvironments(where: Sql): Query<object> {
  return query(sql`SELECT ${columns} FROM environments WHERE ${where} ORDER BY created_at, id`)
}
