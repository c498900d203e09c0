import { fetchedDatabase } from '../src/cli/fetched-database.ts'

/** The database behind the Worker of fetched-database.ts at `url`. */
export const remoteDatabase = (url: URL): D1Database => fetchedDatabase((init) => fetch(url, init))
