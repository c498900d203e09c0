import { newId } from '../credential/id.ts'
import { createEnvironment, listEnvironments } from '../storage/operator/environments.ts'
import { answer, checkName, command, Failure, json, main, table } from './command.ts'
import { target, withDatabase } from './target.ts'

const create = command({
  name: 'environment -- create',
  says: 'Makes an environment: applications, secrets and keys of its own, which no other environment sees.',
  options: { name: { type: 'string', value: 'NAME', says: 'Its name.', required: true }, ...target, json },
  run: async (values) => {
    const name = checkName('--name', values.name)
    const now = Date.now()
    const mine = { id: newId('env', now), clientId: newId('client', now), name, createdAt: now }
    const { id, clientId } = await withDatabase(values, (database) => createEnvironment(database, mine))
    if (id !== mine.id) throw new Failure(`There is an environment ${name} already: ${id}. Choose another name.`)
    if (values.json) return answer({ id, name, client_id: clientId })
    answer(`Environment ${name} is ${id}; its tokens are for (aud) ${clientId}.`)
    answer(`Next, a key of it: npm run api-key -- create --environment '${name}' --name NAME --access read|write`)
  },
})

const list = command({
  name: 'environment -- list',
  says: 'Shows the environments. The client ID is the audience (aud) of an environment’s tokens.',
  options: { ...target, json },
  run: async (values) => {
    const environments = await withDatabase(values, listEnvironments)
    if (values.json) {
      return answer(
        environments.map(({ id, name, clientId, createdAt }) => ({
          id,
          name,
          client_id: clientId,
          created_at: new Date(createdAt).toISOString(),
        })),
      )
    }
    if (environments.length === 0) return answer('There is none yet: npm run environment -- create --name NAME')
    answer(
      table(
        ['NAME', 'ID', 'CLIENT ID', 'CREATED'],
        environments.map(({ name, id, clientId, createdAt }) => [name, id, clientId, day(createdAt)]),
      ),
    )
  },
})

function day(unixMs: number): string {
  return new Date(unixMs).toISOString().slice(0, 10)
}

await main([create, list])
