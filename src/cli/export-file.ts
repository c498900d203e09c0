import type { FileHandle } from 'node:fs/promises'
import * as v from 'valibot'
import { MOVED_TABLES, type MovedTable, type Row } from '../storage/operator/transfer.ts'
import { codeOf, Failure } from './command.ts'
import { continuePrivately, nameFinally, openPrivately } from './private-file.ts'

/**
 * The file of `export`: one JSON value a line.
 *
 *     {"oncekey_export":1,"schema_version":2,"region":"0","environment":{…},"digests":true,…}
 *     {"table":"applications","row":{…}}        one for each row
 *     {"changed":true}                          rows from here on replace rows above: they changed during the export
 *     {"table":"client_secrets","row":{…}}
 *     {"end":true,"rows":2}                     without this line, the file is incomplete
 */
export const FORMAT_VERSION = 1

const strings = v.array(v.string())

const Header = v.object({
  oncekey_export: v.literal(FORMAT_VERSION),
  schema_version: v.number(),
  region: v.string(),
  environment: v.object({ id: v.string(), name: v.string() }),
  digests: v.boolean(),
  exported_at: v.string(),
  /** `seq` of the last event when the export began. */
  since: v.number(),
  columns: v.object(v.entriesFromList(MOVED_TABLES, strings)),
})
export type Header = v.InferOutput<typeof Header>

const Line = v.union([
  v.object({
    table: v.picklist(MOVED_TABLES),
    row: v.record(v.string(), v.nullable(v.union([v.string(), v.number()]))),
  }),
  v.object({ changed: v.literal(true) }),
  v.object({ end: v.literal(true), rows: v.number() }),
])
export type Line = v.InferOutput<typeof Line>

/** The maximum length of a line. D1 has rows of at most 2 MB, which are shorter than this as JSON. */
const MAX_LINE_BYTES = 16 * 1024 * 1024
const CHUNK_BYTES = 1024 * 1024

/** Yields the complete lines of a file, each with the byte position after it. */
async function* linesOf(handle: FileHandle, file: string): AsyncGenerator<{ text: string; end: number }> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  const chunk = Buffer.alloc(CHUNK_BYTES)
  let pending: Buffer = Buffer.alloc(0)
  let position = 0
  for (;;) {
    const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES, position).catch((error) => {
      throw new Failure(`${file} cannot be read (${codeOf(error)}).`)
    })
    if (bytesRead === 0) return
    position += bytesRead
    pending = Buffer.concat([pending, chunk.subarray(0, bytesRead)])
    for (let at = pending.indexOf('\n'); at >= 0; at = pending.indexOf('\n')) {
      const line = pending.subarray(0, at)
      pending = pending.subarray(at + 1)
      try {
        yield { text: decoder.decode(line), end: position - pending.length }
      } catch (error) {
        if (!(error instanceof TypeError)) throw error
        throw new Failure(`${file} has bytes that are not UTF-8.`)
      }
    }
    if (pending.length > MAX_LINE_BYTES) throw new Failure(`${file} has a line that is too long for an export.`)
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function headerOf(text: string, file: string): Header {
  const value = parsed(text)
  const { success, output } = v.safeParse(Header, value)
  if (success) return output
  const version = v.safeParse(v.object({ oncekey_export: v.number() }), value)
  if (version.success && version.output.oncekey_export !== FORMAT_VERSION) {
    throw new Failure(
      `${file} has version ${version.output.oncekey_export} of the export format. This version of Oncekey reads version ${FORMAT_VERSION}. Use the version of Oncekey that wrote the file.`,
    )
  }
  throw new Failure(`${file} does not begin like an export of Oncekey.`)
}

function lineOf(text: string, number: number, file: string): Line {
  const { success, output } = v.safeParse(Line, parsed(text))
  if (!success) throw new Failure(`${file}, line ${number}, is not part of an export.`)
  return output
}

/** Reads an export, line by line. Throws Failure at an invalid line, and at the end if the file is incomplete. */
export async function readExport(
  file: string,
): Promise<{ header: Header; lines: () => AsyncGenerator<Line>; close: () => Promise<void> }> {
  const handle = await openPrivately(file)
  if (handle === null) throw new Failure(`${file} does not exist. Nothing was changed.`)
  try {
    const first = await linesOf(handle, file).next()
    if (first.done) throw new Failure(`${file} does not begin like an export of Oncekey.`)
    return {
      header: headerOf(first.value.text, file),
      lines: () => readLines(handle, file),
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

async function* readLines(handle: FileHandle, file: string): AsyncGenerator<Line> {
  let number = 0
  let rows = 0
  let hasEnded = false
  for await (const { text } of linesOf(handle, file)) {
    number++
    if (number === 1) continue
    if (hasEnded) throw new Failure(`${file}, line ${number}, follows the end of the export.`)
    const line = lineOf(text, number, file)
    if ('table' in line) rows++
    if ('end' in line) {
      if (line.rows !== rows) throw new Failure(`${file} has ${rows} rows instead of ${line.rows}.`)
      hasEnded = true
    }
    yield line
  }
  if (!hasEnded) {
    throw new Failure(
      `${file} ends too early: the export was interrupted, or a copy is incomplete. Export or copy again.`,
    )
  }
}

/** An export that is being written. */
export interface OpenExport {
  /** The header of the interrupted export, or of the new one. */
  readonly header: Header
  /** The last row that the interrupted export has written, or null. */
  readonly last: { readonly table: MovedTable; readonly row: Row } | null
  /** The number of rows in the file. */
  readonly rows: () => number
  readonly write: (lines: readonly Line[]) => Promise<void>
  /** Writes the last line, and renames the file to its final name. */
  readonly finish: () => Promise<void>
  readonly close: () => Promise<void>
}

/** Begins an export in `FILE.part`, or continues an interrupted export there. */
export async function openExport(file: string, wanted: Header): Promise<OpenExport> {
  const part = `${file}.part`
  const handle = await continuePrivately(part)
  try {
    const { header, last, rows, end } = await continued(handle, part, wanted)
    let count = rows
    let position = end
    const append = async (text: string) => {
      try {
        const { bytesWritten } = await handle.write(text, position)
        if (bytesWritten !== Buffer.byteLength(text)) throw new Error('ENOSPC')
        position += bytesWritten
      } catch (error) {
        throw new Failure(
          `${part} cannot be written (${codeOf(error)}). The database was not changed. Free some space, then run the same command again: it continues.`,
        )
      }
    }
    if (position === 0) await append(`${JSON.stringify(header)}\n`)
    return {
      header,
      last,
      rows: () => count,
      write: async (lines) => {
        await append(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
        count += lines.filter((line) => 'table' in line).length
      },
      finish: async () => {
        await append(`${JSON.stringify({ end: true, rows: count } satisfies Line)}\n`)
        await handle.sync()
        await nameFinally(part, file)
      },
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/**
 * Reads the rows that an interrupted export has written. Removes an incomplete last line, and the rows after `changed`,
 * because the new run writes those again.
 */
async function continued(handle: FileHandle, part: string, wanted: Header) {
  let header: Header | null = null
  let last: OpenExport['last'] = null
  let rows = 0
  let end = 0
  let number = 0
  for await (const line of linesOf(handle, part)) {
    number++
    if (header === null) {
      header = headerOf(line.text, part)
      requireSame(header, wanted, part)
    } else {
      const value = lineOf(line.text, number, part)
      if (!('table' in value)) break
      last = value
      rows++
    }
    end = line.end
  }
  await handle.truncate(end)
  return { header: header ?? wanted, last, rows, end }
}

/** Throws Failure if the file is another export, such as one of another environment or one without digests. */
function requireSame(found: Header, wanted: Header, part: string): void {
  const { since: _, exported_at, ...rest } = found
  const { since: __, exported_at: ___, ...expected } = wanted
  if (JSON.stringify(rest) === JSON.stringify(expected)) return
  throw new Failure(
    `${part} is an interrupted export of ${found.environment.id}${found.digests ? ' with' : ' without'} digests, from ${exported_at}. It was not changed. Delete it, or name another file with --file.`,
  )
}
