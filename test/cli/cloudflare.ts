import { CLOSED_MESSAGE } from '../../src/http/settings.ts'
import { emptyDatabase } from './databases.ts'

/**
 * A stand-in for Cloudflare: the calls of its API that `npm run deploy` and wrangler make, with the answers that wrangler's
 * code expects, and the `/readyz` of the deployed Worker. It cannot stand in for the Worker by which wrangler reaches a
 * database.
 */
export class Cloudflare {
  readonly account = { id: 'a'.repeat(32), name: 'Jane’s account' }
  /** Undefined where the token may not read it. */
  user: { email: string } | undefined = { email: 'jane@example.com' }
  /** The account's subdomain of workers.dev. */
  subdomain: string | undefined = 'jane'
  readonly databases: AccountDatabase[] = []
  /** The state of a database at each Time Travel bookmark. */
  readonly states = new Map<string, D1Database>()
  /** The location of every new database; if undefined, the location that is asked for, or ENAM. */
  region: string | undefined
  quotaExceeded = false
  /** Custom domains by hostname, and the Worker of each. */
  readonly domains: Record<string, string> = {}
  readonly dnsRecords = new Set<string>()
  /** The versions of the Worker, the newest last. */
  readonly versions: Version[] = []
  serving: { version_id: string; percentage: number }[] = []
  /** Addresses of the Worker. */
  readonly addresses = { enabled: false, previews_enabled: true }
  /** The version that answers requests, if it is not the deployed one. */
  answering: string | undefined
  /** The rows that every query of Analytics Engine returns, and the queries that were sent. */
  usage: Readonly<Record<string, string | number>>[] = []
  readonly queries: string[] = []

  /** The calls that changed something, in order. */
  readonly changes: string[] = []
  readonly calls: string[] = []
  /** The call that is refused from now on, such as `POST /d1/database`. */
  refused = ''
  /** The call that fails once: before it takes effect or, when the reply is lost, after it. */
  broken = ''
  isReplyLost = false
  /** The call that is never answered. When it arrives, `onHeld` is called. */
  held = ''
  onHeld = () => {}

  readonly #routes: [RegExp, Handler][] = [
    [/^GET \/user\/tokens\/verify$/, () => ({ id: 't', status: 'active' })],
    [/^GET \/user$/, () => this.user ?? refusal(403, 9109, 'Unauthorized to access requested resource')],
    [/^GET \/accounts$/, (_, url) => paged([this.account], url)],
    [/^GET \/memberships$/, (_, url) => paged([{ id: 'm', account: this.account }], url)],
    [
      /^GET \/d1\/database$/,
      (_, url) =>
        paged(
          this.databases.map(({ described }) => described),
          url,
        ),
    ],
    [/^POST \/d1\/database$/, (body) => this.#createDatabase(body as never)],
    [/^GET \/d1\/database\/([^/]+)$/, (_, __, name) => this.#database(name)?.described ?? noDatabase],
    [
      /^GET \/d1\/database\/([^/]+)\/time_travel\/bookmark$/,
      (_, url) => ({ bookmark: url.searchParams.has('timestamp') ? PAST : '00000085-0000024c-00004c6d' }),
    ],
    [
      /^POST \/d1\/database\/([^/]+)\/time_travel\/restore$/,
      (_, url, name) => this.#restore(name, url.searchParams.get('bookmark') ?? ''),
    ],
    [/^POST \/d1\/database\/([^/]+)\/query$/, (body, _, name) => this.#query(name, (body as { sql: string }).sql)],
    [
      /^GET \/workers\/subdomain$/,
      () => (this.subdomain ? { subdomain: this.subdomain } : refusal(404, 10007, 'No subdomain.')),
    ],
    [/^POST \/analytics_engine\/sql$/, (sql) => this.queries.push(sql as string) && { data: this.usage }],
    [/^GET \/workers\/domains$/, (_, url) => this.#domainsOf(url.searchParams.get('hostname') ?? '')],
    [/^GET \/workers\/domains\/records\/(\S+)$/, (_, __, host) => this.#domainsOf(host)[0]],
    [/^POST \/workers\/scripts\/oncekey\/domains\/changeset$/, (body) => this.#changes(body as never)],
    [/^PUT \/workers\/scripts\/oncekey\/domains\/records$/, (body) => this.#publish(body as never)],
    [/^GET \/workers\/scripts\/oncekey\/deployments$/, () => ({ deployments: [{ id: 'd', versions: this.serving }] })],
    [
      /^POST \/workers\/scripts\/oncekey\/deployments$/,
      (body) => Object.assign(this, { serving: (body as { versions: [] }).versions }) && { id: 'd' },
    ],
    [/^GET \/workers\/scripts\/oncekey\/versions\/(\S+)$/, (_, __, id) => this.#version(id)],
    [/^GET \/workers\/scripts\/oncekey\/versions$/, () => ({ items: this.versions.toReversed() })],
    [/^GET \/workers\/scripts\/oncekey\/settings$/, () => ({ bindings: this.versions.at(-1)?.bindings })],
    [/^GET \/workers\/scripts\/oncekey\/secrets$/, () => this.secretNames.map((name) => ({ name }))],
    [/^PATCH \/workers\/scripts\/oncekey\/secrets-bulk$/, (body) => this.#setSecrets(body as never)],
    [
      /^GET \/workers\/services\/oncekey$/,
      () => ({
        default_environment: { environment: 'production', script: { last_deployed_from: 'wrangler', tag: 't' } },
      }),
    ],
    [/^GET \/workers\/workers\/oncekey$/, () => ({ id: 'w', name: 'oncekey', subdomain: this.addresses })],
    [/^PUT \/workers\/scripts\/oncekey$/, (body) => this.#uploaded(body, true)],
    [/^POST \/workers\/scripts\/oncekey\/versions$/, (body) => this.#uploaded(body, false)],
    // Cloudflare has all files already.
    [/^POST \/workers\/scripts\/oncekey\/assets-upload-session$/, () => ({ jwt: 'jwt', buckets: [] })],
    [/^POST \/workers\/scripts\/oncekey\/subdomain$/, (body) => Object.assign(this.addresses, body as object)],
    [/^PATCH \/workers\/scripts\/oncekey\/script-settings$/, () => ({})],
    [/^PUT \/workers\/scripts\/oncekey\/schedules$/, () => []],
  ]

  /** Answers a call. `path` is without the prefix for the account. */
  async answer(method: string, path: string, body: unknown = undefined): Promise<unknown | Refusal> {
    const url = new URL(path, 'http://api')
    const call = `${method} ${url.pathname}`
    this.calls.push(call)
    const isBroken = this.broken === call
    if (isBroken) this.broken = ''
    if (isBroken && !this.isReplyLost) return refusal(500, 10001, 'The platform said no.')
    if (this.refused === call) return refusal(403, 10000, 'Authentication error')
    if (method !== 'GET' && !/\/(query|changeset|sql)$/.test(url.pathname)) this.changes.push(call)
    const answer = await this.#handle(call, url, body)
    return isBroken ? refusal(500, 10001, 'The platform said no.') : answer
  }

  async #handle(call: string, url: URL, body: unknown): Promise<unknown | Refusal> {
    const isOfWorker = /\/workers\/(scripts|services|workers)\/oncekey/.test(call)
    const mayBeMissing = /^PUT \S+\/oncekey$|assets-upload/.test(call)
    if (isOfWorker && this.versions.length === 0 && !mayBeMissing) return noWorker
    for (const [pattern, handle] of this.#routes) {
      const [found, name = ''] = pattern.exec(call) ?? []
      if (found) return handle(body, url, decodeURIComponent(name))
    }
    return refusal(404, 7003, `Could not route to ${call}`)
  }

  /** Whether the deployed Worker is closed for maintenance. */
  get isClosed(): boolean {
    return this.secrets.MAINTENANCE === 'true'
  }

  /** The answer of the deployed Worker at /readyz. */
  readiness() {
    if (this.isClosed) return { message: CLOSED_MESSAGE }
    return { status: 'ok', version_id: this.answering ?? this.serving[0]?.version_id }
  }

  /** Adds a version that serves, as an upload or a change of secrets does. */
  addVersion(version: Partial<Version> = {}, isServing = true): string {
    const id = `00000000-0000-4000-8000-${String(this.versions.length + 1).padStart(12, '0')}`
    const { bindings = [], secrets = {} } = this.versions.at(-1) ?? {}
    this.versions.push({ id, bindings, secrets, ...version })
    if (isServing) this.serving = [{ version_id: id, percentage: 100 }]
    return id
  }

  /** The secrets of the version that serves. */
  get secrets(): Record<string, string> {
    return this.#version(this.serving[0]?.version_id ?? '')?.secrets ?? {}
  }

  get secretNames(): string[] {
    return Object.keys(this.secrets)
  }

  /** The value of a variable in each uploaded version. */
  valuesOf(variable: string): (string | undefined)[] {
    return this.versions.map(({ bindings }) => bindings.find(({ name }) => name === variable)?.text)
  }

  async addDatabase(name: string, region = 'ENAM', jurisdiction?: string): Promise<AccountDatabase> {
    const uuid = `11111111-2222-3333-4444-${String(this.databases.length).padStart(12, '0')}`
    const described = { uuid, name, running_in_region: region, ...(jurisdiction && { jurisdiction }) }
    const database = { described, d1: await emptyDatabase() }
    this.databases.push(database)
    return database
  }

  #database(name: string): AccountDatabase | undefined {
    return this.databases.find(({ described }) => described.name === name || described.uuid === name)
  }

  async #createDatabase(wanted: { name: string; primary_location_hint?: string; jurisdiction?: string }) {
    if (this.#database(wanted.name)) return refusal(400, 7502, 'A database with that name already exists')
    const region = this.region ?? wanted.primary_location_hint?.toUpperCase() ?? 'ENAM'
    const { described } = await this.addDatabase(wanted.name, region, wanted.jurisdiction)
    const { running_in_region: _, ...created } = described
    return { ...created, created_in_region: region }
  }

  async #query(name: string, sql: string) {
    if (this.quotaExceeded) {
      return refusal(400, 7500, "D1_ERROR: Your account has exceeded D1's free tier daily row read limit.")
    }
    try {
      const { results } = (await this.#database(name)?.d1.prepare(sql).all()) ?? { results: [] }
      return [{ success: true, meta: {}, results }]
    } catch (error) {
      return refusal(400, 7500, String(error))
    }
  }

  #restore(name: string, bookmark: string) {
    const [database, d1] = [this.#database(name), this.states.get(bookmark)]
    return database && d1 ? Object.assign(database, { d1 }) && { bookmark } : noDatabase
  }

  /** Runs statements as they come over the wire: see fetched-database.ts. */
  batch(statements: readonly { sql: string; values: unknown[] }[]) {
    const { d1 } = this.databases[0] as AccountDatabase
    const bytes = (value: unknown) => (Array.isArray(value) ? new Uint8Array(value) : value)
    return d1.batch(statements.map(({ sql, values }) => d1.prepare(sql).bind(...values.map(bytes))))
  }

  #domainsOf(hostname: string) {
    const service = this.domains[hostname]
    return service ? [{ id: hostname, hostname, service }] : []
  }

  #changes(origins: { hostname: string }[]) {
    const hosts = origins.map(({ hostname }) => hostname)
    const known = hosts.filter((host) => this.domains[host] !== undefined)
    const removed = Object.entries(this.domains).filter(
      ([host, service]) => service === 'oncekey' && !hosts.includes(host),
    )
    return {
      added: hosts.filter((host) => !known.includes(host)).map((hostname) => ({ hostname })),
      removed: removed.map(([hostname]) => ({ hostname })),
      updated: known.map((host) => ({ id: host, hostname: host, modified: this.domains[host] !== 'oncekey' })),
      conflicting: hosts.filter((host) => this.dnsRecords.has(host)).map((hostname) => ({ hostname })),
    }
  }

  #publish({ origins }: { origins: { hostname: string }[] }) {
    for (const { hostname } of origins) this.domains[hostname] = 'oncekey'
    return []
  }

  #version(id: string) {
    const found = this.versions.find((version) => version.id === id)
    return found && { ...found, metadata: {}, resources: { bindings: found.bindings, script: {}, script_runtime: {} } }
  }

  #setSecrets({ secrets }: { secrets: Record<string, { text: string }> }) {
    const [serving] = this.serving
    if (serving?.version_id !== this.versions.at(-1)?.id || serving?.percentage !== 100) {
      return refusal(400, 10215, "Secret edit failed. The latest version of your Worker isn't currently deployed")
    }
    const texts = Object.entries(secrets).map(([name, { text }]) => [name, text])
    this.addVersion({ secrets: { ...this.secrets, ...Object.fromEntries(texts) } })
    return {}
  }

  /** wrangler reads the ID of the version from `id` or from `deployment_id`, which has no hyphens. */
  #uploaded(body: unknown, isServing: boolean) {
    const metadata = /name="metadata"[^{]*(\{.*\})\r?$/m.exec(String(body))?.[1] ?? '{}'
    const id = this.addVersion({ bindings: JSON.parse(metadata).bindings }, isServing)
    const ids = { id, deployment_id: id.replaceAll('-', '') }
    return { ...ids, etag: 'e', tag: 't', metadata: {}, resources: { script: { etag: 'e' } } }
  }
}

/** The bookmark of every time in the past. */
export const PAST = '00000042-00000100-00004c6d'

export interface Version {
  readonly id: string
  readonly bindings: readonly {
    readonly name: string
    readonly type: string
    readonly text?: string
    readonly id?: string
  }[]
  readonly secrets: Record<string, string>
}

export interface AccountDatabase {
  readonly described: { uuid: string; name: string; running_in_region: string; jurisdiction?: string }
  readonly d1: D1Database
}

type Handler = (body: unknown, url: URL, name: string) => unknown

export class Refusal {
  readonly status: number
  readonly error: { readonly code: number; readonly message: string }

  constructor(status: number, code: number, message: string) {
    this.status = status
    this.error = { code, message }
  }
}

const refusal = (status: number, code: number, message: string) => new Refusal(status, code, message)
const noWorker = refusal(404, 10007, 'This Worker does not exist on your account.')
const noDatabase = refusal(404, 7404, 'The database could not be found')
const paged = (list: object[], url: URL) => (Number(url.searchParams.get('page') ?? 1) > 1 ? [] : list)
