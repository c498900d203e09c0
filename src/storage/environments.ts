import sql, { type Sql } from 'sql-template-tag'
import { type Database, type Row, sendBatch } from './database.ts'

/** Made and listed by the operator, who owns the database, from outside of them all. */
export interface Environment {
  readonly id: string
  /** The `aud` of its tokens. */
  readonly clientId: string
  readonly name: string
  /** Unix ms. */
  readonly createdAt: number
}

/** Makes an environment, unless there is one of this name. Gives the one there is now. */
export async function createEnvironment(database: Database, environment: Environment): Promise<Environment> {
  const { id, clientId, name, createdAt } = environment
  const [, rows] = await sendBatch(database, [
    sql`INSERT INTO environments (id, client_id, name, created_at) VALUES (${id}, ${clientId}, ${name}, ${createdAt}) ON CONFLICT DO NOTHING`,
    selectEnvironments(sql`name = ${name}`),
  ])
  return fromRow(rows?.[0] as Row)
}

/** All environments, oldest first. */
export async function listEnvironments(database: Database): Promise<Environment[]> {
  const [rows] = await sendBatch(database, [selectEnvironments(sql`true`)])
  return (rows ?? []).map(fromRow)
}

function selectEnvironments(where: Sql): Sql {
  return sql`SELECT id, client_id, name, created_at FROM environments WHERE ${where} ORDER BY created_at, id`
}

function fromRow(row: Row): Environment {
  return {
    id: row.id as string,
    clientId: row.client_id as string,
    name: row.name as string,
    createdAt: row.created_at as number,
  }
}
