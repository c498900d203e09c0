import sql, { type Sql } from 'sql-template-tag'
import { type Database, type Query, query, sendBatch, type UnixMs } from '../database.ts'
import { mapping } from '../mapping.ts'

/** An isolated tenant. Only the operator can create one, or see more than one. */
export interface Environment {
  readonly id: string
  /** The `aud` of its access tokens. */
  readonly clientId: string
  readonly name: string
  readonly createdAt: UnixMs
}

const { columns, fromRow } = mapping<Environment>('environments', {
  id: 'id',
  clientId: 'client_id',
  name: 'name',
  createdAt: 'created_at',
})

/** Creates an environment, unless the name is taken. Returns the environment of that name. */
export async function createEnvironment(database: Database, environment: Environment): Promise<Environment> {
  const { id, clientId, name, createdAt } = environment
  const { environments } = await sendBatch(database, {
    created: query(sql`INSERT INTO environments (id, client_id, name, created_at)
      VALUES (${id}, ${clientId}, ${name}, ${createdAt}) ON CONFLICT DO NOTHING`),
    environments: selectEnvironments(sql`name = ${name}`),
  })
  return environments[0] ? fromRow(environments[0]) : environment
}

/** All environments, oldest first. */
export async function listEnvironments(database: Database): Promise<Environment[]> {
  const { environments } = await sendBatch(database, { environments: selectEnvironments(sql`true`) })
  return environments.map(fromRow)
}

function selectEnvironments(where: Sql): Query<object> {
  return query(sql`SELECT ${columns} FROM environments WHERE ${where} ORDER BY created_at, id`)
}
