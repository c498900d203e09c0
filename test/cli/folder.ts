import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { atEnd } from '../at-end.ts'

/** A folder that exists until the tests of the file have run. */
export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'oncekey-cli-'))
  atEnd(() => rm(folder, { recursive: true, force: true }))
  return folder
}
