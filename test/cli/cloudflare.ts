import { createServer } from 'node:http'
import { afterAll } from 'vitest'

/**
 * A stand-in for Cloudflare's API, for as much of it as wrangler asks while it deploys, and for the `/readyz` of the
 * deployed Worker. It cannot stand in for the Worker by which wrangler reaches a database.
 */
export interface Cloudflare {
  /** For CLOUDFLARE_API_BASE_URL. */
  url: string
  /** The calls that changed something, in order. */
  readonly changes: string[]
  /** The bindings of each version that was uploaded. */
  readonly uploads: { readonly name: string; readonly type: string; readonly text?: string }[][]
  /** Which addresses of the Worker are on: what was last set. */
  readonly subdomain: { enabled: boolean; previews_enabled?: boolean }
  /** Names of the secrets that were set, and the last text of each. */
  readonly secrets: Record<string, string>
  /** The call that is refused from now on, such as `POST /d1/database`. */
  refused: string
  /** The call that is not answered. Resolves `onHeld` when it has arrived. */
  held: string
  onHeld: () => void
}

const account = { id: 'a'.repeat(32), name: 'Jane’s account' }
const ACCOUNT_PATH = `/accounts/${account.id}`

type Answer = { result: unknown } | { status: number; code: number; message: string }

export async function startCloudflare(): Promise<Cloudflare> {
  const changes: string[] = []
  const uploads: Cloudflare['uploads'] = []
  const secrets: Cloudflare['secrets'] = {}
  const subdomain: Cloudflare['subdomain'] = { enabled: false }
  const cloudflare: Cloudflare = {
    url: '',
    changes,
    uploads,
    subdomain,
    secrets,
    refused: '',
    held: '',
    onHeld: () => {},
  }
  const databases: object[] = []
  const migrations: object[] = []

  const page = (list: object[], url: URL): Answer => ({
    result: Number(url.searchParams.get('page') ?? 1) > 1 ? [] : list,
  })
  const noWorker: Answer = { status: 404, code: 10007, message: 'This Worker does not exist on your account.' }
  const ifDeployed = (result: unknown): Answer => (uploads.length > 0 ? { result } : noWorker)
  /** Of the newest version. */
  const versionId = () => `00000000-0000-4000-8000-${String(uploads.length).padStart(12, '0')}`
  const upload = (body: string): Answer => {
    const metadata = /name="metadata"[^{]*(\{.*\})\r?$/m.exec(body)?.[1] ?? '{}'
    uploads.push(JSON.parse(metadata).bindings)
    const id = versionId()
    // wrangler reads the ID of the version from `id` or from `deployment_id`, which has no hyphens.
    const ids = { id, deployment_id: id.replaceAll('-', '') }
    return { result: { ...ids, etag: 'e', tag: 't', metadata: {}, resources: { script: { etag: 'e' } } } }
  }
  const setSecrets = (body: string): Answer => {
    for (const [name, { text }] of Object.entries<{ text: string }>(JSON.parse(body).secrets)) secrets[name] = text
    return { result: {} }
  }
  const query = (body: string): Answer => {
    const { sql } = JSON.parse(body)
    if (/^SELECT/.test(sql)) return { result: [{ success: true, meta: {}, results: migrations }] }
    const [, name] = /INSERT INTO "d1_migrations"[\s\S]*values \('(.*)'\)/i.exec(sql) ?? []
    if (name) migrations.push({ id: migrations.length + 1, name, applied_at: '2026-01-01 00:00:00' })
    return { result: [{ success: true, meta: {}, results: [] }] }
  }
  const createDatabase = (body: string): Answer => {
    databases.push({ uuid: '11111111-2222-3333-4444-555555555555', ...JSON.parse(body) })
    return { result: databases.at(-1) }
  }
  const deployments = () => ({ deployments: [{ id: 'd', versions: [{ version_id: versionId(), percentage: 100 }] }] })
  const version = () => ({
    id: versionId(),
    metadata: {},
    resources: { bindings: uploads.at(-1), script: {}, script_runtime: {} },
  })

  const routes: [RegExp, (url: URL, body: string) => Answer][] = [
    [/^GET \/user\/tokens\/verify$/, () => ({ result: { id: 't', status: 'active' } })],
    [/^GET \/user$/, () => ({ result: { id: 'u', email: 'jane@example.com' } })],
    [/^GET \/accounts$/, (url) => page([account], url)],
    [/^GET \/memberships$/, (url) => page([{ id: 'm', account }], url)],
    [/^GET \/d1\/database$/, (url) => page(databases, url)],
    [/^POST \/d1\/database$/, (_, body) => createDatabase(body)],
    [/^GET \/d1\/database\/\S+$/, () => ({ result: databases[0] })],
    [/^POST \/d1\/database\/\S+\/query$/, (_, body) => query(body)],
    [/^GET \/workers\/scripts\/oncekey\/deployments$/, () => ifDeployed(deployments())],
    [/^GET \/workers\/scripts\/oncekey\/versions\/\S+$/, () => ifDeployed(version())],
    [/^GET \/workers\/scripts\/oncekey\/settings$/, () => ifDeployed({ bindings: uploads.at(-1) })],
    [
      /^GET \/workers\/scripts\/oncekey\/secrets$/,
      () => ifDeployed(Object.keys(secrets).map((name) => ({ name, type: 'secret_text' }))),
    ],
    [
      /^GET \/workers\/services\/oncekey$/,
      () =>
        ifDeployed({
          default_environment: { environment: 'production', script: { last_deployed_from: 'wrangler', tag: 't' } },
        }),
    ],
    [/^GET \/workers\/workers\/oncekey$/, () => ({ result: { id: 'w', name: 'oncekey', subdomain } })],
    [/^PUT \/workers\/scripts\/oncekey$/, (_, body) => upload(body)],
    [/^POST \/workers\/scripts\/oncekey\/versions$/, (_, body) => upload(body)],
    // It has all files already.
    [/^POST \/workers\/scripts\/oncekey\/assets-upload-session$/, () => ({ result: { jwt: 'jwt', buckets: [] } })],
    [/^POST \/workers\/scripts\/oncekey\/deployments$/, () => ({ result: { id: 'd' } })],
    [
      /^POST \/workers\/scripts\/oncekey\/subdomain$/,
      (_, body) => ({ result: Object.assign(subdomain, JSON.parse(body)) }),
    ],
    [/^PATCH \/workers\/scripts\/oncekey\/script-settings$/, () => ({ result: {} })],
    [/^PATCH \/workers\/scripts\/oncekey\/secrets-bulk$/, (_, body) => setSecrets(body)],
    [/^PUT \/workers\/scripts\/oncekey\/schedules$/, () => ({ result: [] })],
    [/^GET \/workers\/subdomain$/, () => ({ result: { subdomain: 'jane' } })],
  ]

  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const url = new URL(request.url ?? '/', 'http://api')
    const call = `${request.method} ${url.pathname.replace(ACCOUNT_PATH, '')}`
    if (request.method !== 'GET' && !call.endsWith('/query')) changes.push(call)
    if (call === 'GET /readyz') return response.end(JSON.stringify({ status: 'ok', version_id: versionId() }))
    if (call === cloudflare.held) return cloudflare.onHeld()
    const [, answer] = routes.find(([pattern]) => pattern.test(call)) ?? []
    const unknown: Answer = { status: 404, code: 7003, message: `Could not route to ${call}` }
    const refusal: Answer = { status: 403, code: 10023, message: 'You may not do that.' }
    const given = call === cloudflare.refused ? refusal : (answer?.(url, body) ?? unknown)
    const isGood = 'result' in given
    response.writeHead(isGood ? 200 : given.status, { 'Content-Type': 'application/json' })
    response.end(
      JSON.stringify({
        success: isGood,
        errors: isGood ? [] : [{ code: given.code, message: given.message }],
        messages: [],
        result: isGood ? given.result : null,
        result_info: { page: 1, per_page: 50, count: 1, total_count: 1, total_pages: 1 },
      }),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  afterAll(() => server.close())
  const address = server.address()
  cloudflare.url = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`
  return cloudflare
}
