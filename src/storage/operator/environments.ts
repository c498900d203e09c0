import sql, { type Sql } from 'sql-template-tag'
import { type Database, type Query, query, sendBatch, type UnixMs } from '../database.ts'

/** An isolated tenant. Only the operator can create one, or see more than one. */
export interface Environment {
  readonly id: string
  /** The `aud` of its access tokens. */
  readonly clientId: string
  readonly name: string
  readonly createdAt: UnixMs
}

/** Creates an environment, unless the name is taken. Returns the environment of that name. */
export async function createEnvironment(database: Database, environment: Environment): Promise<Environment> {
  const { id, clientId, name, createdAt } = environment
  const { environments } = await sendBatch(database, {
    created: query(sql`INSERT INTO environments (id, client_id, name, created_at)
      VALUES (${id}, ${clientId}, ${name}, ${createdAt}) ON CONFLICT DO NOTHING`),
    environments: selectEnvironments(sql`name = ${name}`),
  })
  return environments[0] ? environmentFromRow(environments[0]) : environment
}

/** All environments, oldest first. */
export async function listEnvironments(database: Database): Promise<Environment[]> {
  const { environments } = await sendBatch(database, { environments: selectEnvironments(sql`true`) })
  return environments.map(environmentFromRow)
}

interface EnvironmentRow {
  readonly id: string
  readonly client_id: string
  readonly name: string
  readonly created_at: UnixMs
}

function selectEnvironments(where: Sql): Query<EnvironmentRow> {
  return query(sql`SELECT id, client_id, name, created_at FROM environments WHERE ${where} ORDER BY created_at, id`)
}

function environmentFromRow(row: EnvironmentRow): Environment {
  return { id: row.id, clientId: row.client_id, name: row.name, createdAt: row.created_at }
}
