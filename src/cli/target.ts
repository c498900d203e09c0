import { join, resolve } from 'node:path'
import type { Database } from '../storage/database.ts'
import { misuse, progress } from './command.ts'
import { openLocalDatabase } from './local-database.ts'
import { openRemoteDatabase } from './remote-database.ts'
import { root } from './wrangler.ts'

const STATE_FOLDER = '.wrangler/state'

export const persistTo = {
  type: 'string',
  value: 'DIR',
  says: `Where the embedded database is kept. Default: ${STATE_FOLDER}.`,
} as const

/** Which database a command is about: the embedded one, or the deployed one. */
export const target = {
  remote: { type: 'boolean', says: 'On the deployed database, instead of the embedded one.' },
  'persist-to': persistTo,
} as const

/** The folder of the embedded database. */
export function stateFolder(path?: string): string {
  return path === undefined ? join(root, STATE_FOLDER) : resolve(path)
}

/** Opens a database, runs something over it, and closes it. */
export async function withDatabase<T>(
  target: { readonly remote?: boolean; readonly 'persist-to': string | undefined },
  use: (database: Database) => Promise<T>,
): Promise<T> {
  if (target.remote && target['persist-to']) misuse('--remote and --persist-to name two databases: choose one.')
  progress(target.remote ? 'Connecting to the deployed database…' : 'Opening the embedded database…')
  const { database, close } = target.remote
    ? await openRemoteDatabase()
    : await openLocalDatabase(stateFolder(target['persist-to']))
  try {
    return await use(database)
  } finally {
    await close()
  }
}
