import { rename, writeFile } from 'node:fs/promises'

/** Writes a file for its owner's eyes, all of it or nothing. */
export async function writePrivately(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, `${text}\n`, { mode: 0o600 })
  await rename(`${file}.new`, file)
}
