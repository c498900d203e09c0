import type { Database } from '../storage/database.ts'
import { type Environment, listEnvironments } from '../storage/operator/environments.ts'
import { Failure } from './command.ts'

/** The option that names an environment. */
export const environmentName = { type: 'string', value: 'NAME', says: 'The environment, by its name.' } as const

export async function environmentOf(database: Database, name: string): Promise<Environment> {
  const environments = await listEnvironments(database)
  const found = environments.find((environment) => environment.name === name)
  if (found) return found
  const names = environments.map((environment) => environment.name).join(', ')
  throw new Failure(
    `There is no environment ${name}. ${names ? `There is: ${names}.` : `Make it: npm run environment -- create --name '${name}'`}`,
  )
}

/** The environment of this name, or all of them where none is named. */
export async function environmentsOf(database: Database, name: string | undefined): Promise<Environment[]> {
  return name === undefined ? listEnvironments(database) : [await environmentOf(database, name)]
}
