import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from '../credential/crc32.ts'
import { Failure, type Platform } from './command.ts'
import type { ProvidedRegion } from './deploy-databases.ts'
import { parseJson, reasonOf } from './wrangler.ts'

/** wrangler.toml without wrangler's defaults. */
export type RawConfiguration = Readonly<Record<string, unknown>>

export interface WorkerChanges {
  readonly accountId?: string
  readonly databases?: readonly ProvidedRegion[]
  readonly issuer?: string
  readonly workersDev?: boolean
  /**
   * True for the first upload of a new Worker, before its secrets are set. A draft has no host, so no client reaches
   * it.
   */
  readonly isDraft?: boolean
}

/** The configuration to deploy: wrangler.toml with the IDs of this account and its databases. */
export function configurationFor(
  raw: RawConfiguration,
  name: string,
  { accountId, databases = [], issuer, workersDev, isDraft = false }: WorkerChanges,
): RawConfiguration {
  const { route, routes, ...others } = raw
  const addresses = { ...(route !== undefined && { route }), ...(routes !== undefined && { routes }) }
  return {
    ...others,
    name,
    ...(accountId && { account_id: accountId }),
    ...(isDraft
      ? { workers_dev: false }
      : { ...addresses, ...(workersDev !== undefined && { workers_dev: workersDev }) }),
    ...(issuer && { vars: { ...(raw.vars as object), ISSUER: issuer } }),
    ratelimits: rateLimits(raw).map((limit) => ({ ...limit, namespace_id: namespaceId(name, limit.name) })),
    d1_databases: listOf<{ binding: string }>(raw.d1_databases).map((database) => {
      const uuid = databases.find(({ binding }) => binding === database.binding)?.uuid
      return { migrations_dir: 'src/storage/migrations', ...database, ...(uuid && { database_id: uuid }) }
    }),
  }
}

function listOf<T>(value: unknown): readonly T[] {
  return Array.isArray(value) ? value : []
}

export function rateLimits(raw: RawConfiguration): readonly { readonly name: string }[] {
  return listOf(raw.ratelimits)
}

/**
 * The namespace ID of a rate limit. Cloudflare adds up the calls of all rate limits with the same ID, so each rate
 * limit of each Worker needs its own ID. The ID must be a positive number.
 */
export function namespaceId(worker: string, limit: string): string {
  return String((crc32(`${worker}/${limit}`) >>> 1) + 1)
}

/**
 * Writes a configuration file, and removes the file after `use`. Paths in the file are relative to its folder, so
 * `folder` must be the folder of wrangler.toml.
 */
export async function withConfiguration<T>(
  folder: string,
  configuration: RawConfiguration,
  use: (args: readonly string[]) => Promise<T>,
): Promise<T> {
  const file = join(folder, `.deploy-${randomUUID()}.json`)
  const remove = () => rmSync(file, { force: true })
  process.once('exit', remove)
  try {
    await writeFile(file, JSON.stringify(configuration))
    return await use(['--config', file])
  } finally {
    remove()
    process.off('exit', remove)
  }
}

interface WranglerRecord {
  readonly type: string
  readonly version_id?: string | null
}

/**
 * Runs `wrangler deploy`, or `wrangler versions upload`, which uploads without deploying. Returns the ID of the new
 * version.
 */
export async function uploadWorker(
  { wrangler }: Pick<Platform, 'wrangler'>,
  folder: string,
  configuration: RawConfiguration,
  command = ['deploy'],
): Promise<string> {
  const outputFolder = await mkdtemp(join(tmpdir(), 'oncekey-'))
  const output = join(outputFolder, 'deployed')
  try {
    const env = { WRANGLER_OUTPUT_FILE_PATH: output }
    const finished = await withConfiguration(folder, configuration, (args) => wrangler([...command, ...args], { env }))
    if (finished.code !== 0) throw new Failure(`Could not deploy the Worker: ${reasonOf(finished)}`)
    const records = (await readFile(output, 'utf8')).split('\n').map((line) => parseJson<WranglerRecord>(line))
    const id = records.find((record) => record?.version_id)?.version_id
    if (!id) throw new Failure('wrangler did not report the ID of the uploaded version.')
    return id
  } finally {
    await rm(outputFolder, { recursive: true })
  }
}

const READY_WITHIN_MS = 120_000
const READY_INTERVAL_MS = 2_000
const READY_PROGRESS_MS = 20_000

/** Waits until the new version answers /readyz. A new host or version takes a while to reach every location. */
export async function awaitReady(
  platform: Pick<Platform, 'fetch' | 'sleep'>,
  url: string,
  versionId: string,
  progress: (line: string) => void,
): Promise<string> {
  let problem = ''
  for (let waited = 0; waited < READY_WITHIN_MS; waited += READY_INTERVAL_MS) {
    problem = await readinessProblem(platform.fetch, url, versionId)
    if (problem === '') return `Ready, with version ${versionId}.`
    if (waited > 0 && waited % READY_PROGRESS_MS === 0)
      progress(`      Not ready after ${waited / 1000} s: ${problem}.`)
    await platform.sleep(READY_INTERVAL_MS)
  }
  throw new Failure(`The Worker was deployed, but ${url}/readyz is not ready after two minutes: ${problem}.`)
}

/** Returns why the Worker is not ready, or an empty string if it is ready. */
async function readinessProblem(fetch: Platform['fetch'], url: string, versionId: string): Promise<string> {
  try {
    const response = await fetch(`${url}/readyz`)
    const body = parseJson<{ version_id?: string; message?: string }>(await response.text())
    if (response.status !== 200) return `${response.status}${body?.message ? ` (${body.message})` : ''}`
    return body?.version_id === versionId ? '' : `version ${body?.version_id} answers, not ${versionId}`
  } catch (error) {
    const { message, cause } = error as Error
    return cause instanceof Error ? cause.message : message
  }
}
