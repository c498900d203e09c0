import { bundle } from '../bundle-worker.ts'
import { dashboardPaths, isFile } from '../dashboard-paths.ts'
import { sent } from './counts.ts'
import { bindings } from './floors.ts'
import { type Hostile, MAX_APPLICATIONS, seedHostile } from './hostile.ts'
import { describeMachine } from './machine.ts'
import { clearProgress, progress } from './progress.ts'
import { Runtime } from './runtime.ts'
import { number, table } from './table.ts'

/** Every page of the dashboard over a full environment: D1 requests, rows, size and time. */

const MAX_BYTES = 60 * 1024
/** A filter by organization reads 5,000 secrets for each of three statements, and their applications twice. */
const MAX_ROWS = 26_000
const ROUNDS = 5
const DATABASE = 'pages'

// The files of a run are removed when its process ends.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

interface Measured {
  readonly path: string
  readonly status: number
  readonly requests: number
  readonly rowsRead: number
  readonly bytes: number
  readonly milliseconds: number
}

const applications = Number(process.argv[2] ?? MAX_APPLICATIONS)
const runtime = await start()
try {
  const data = await seedHostile(runtime.database(DATABASE), runtime.url('product'), applications, progress)
  const pages: Measured[] = []
  const cookie = await signIn(data)
  for (const path of pathsOf(data)) {
    progress(path)
    pages.push(await measure(path, cookie))
  }
  clearProgress()
  console.log(`${describeMachine()}, ${new Date().toISOString().slice(0, 10)}; ${number(applications)} applications\n`)
  console.log(describe(pages))
  const problems = pages.flatMap(problemsOf)
  for (const problem of problems) console.log(problem)
  if (problems.length > 0) process.exitCode = 1
} finally {
  await runtime.stop()
}

async function start(): Promise<Runtime> {
  progress('Bundling the Workers…')
  const [product, counting] = await Promise.all([bundle('src/index.ts'), bundle('test/bench/workers/counting.ts')])
  const common = { database: DATABASE, bindings: await bindings() }
  progress('Starting workerd…')
  return Runtime.start([
    { name: 'product', script: product.script, ...common },
    { name: 'counting', script: counting.script, ...common },
  ])
}

async function signIn({ apiKey }: Hostile): Promise<string> {
  const origin = runtime.url('product')
  const response = await fetch(`${origin}/dashboard/sign-in`, {
    method: 'POST',
    headers: { Origin: origin },
    body: new URLSearchParams({ api_key: apiKey }),
    redirect: 'manual',
  })
  if (response.status !== 303) throw new Error(`sign-in: ${response.status} ${await response.text()}`)
  return response.headers
    .getSetCookie()
    .map((cookie) => cookie.split(';', 1)[0])
    .join('; ')
}

/** Every page of the dashboard, and lists that are filtered, sorted or searched. */
function pathsOf(data: Hostile): string[] {
  const { application, key } = data
  const secrets = ['state=all&sort=used', 'unused=90&expiry=never', 'organization=org_x', 'sort=expires']
  const events = [`target=${application}`, `actor=${key}`, 'type=connect_application.updated']
  const searches = ['applications?search=nothing', 'applications?search=x']
  const found = ['find?q=x', 'find?q=nothing', 'find?hint=AAAA']
  const lists = [...secrets.map((query) => `secrets?${query}`), ...events.map((query) => `events?${query}`)]
  return [...dashboardPaths(data), ...[...lists, ...searches, ...found].map((path) => `/dashboard/${path}`)]
}

async function measure(path: string, cookie: string): Promise<Measured> {
  const get = async (worker: string) => {
    const response = await fetch(runtime.url(worker) + path, { headers: { Cookie: cookie }, redirect: 'manual' })
    return { status: response.status, bytes: (await response.arrayBuffer()).byteLength }
  }
  await get('counting')
  await sent(runtime.url('counting'))
  const { status, bytes } = await get('counting')
  const requests = await sent(runtime.url('counting'))
  const times: number[] = []
  for (let i = 0; i < ROUNDS; i++) {
    const start = performance.now()
    await get('product')
    times.push(performance.now() - start)
  }
  times.sort((one, other) => one - other)
  const rowsRead = requests.flatMap(({ statements }) => statements).reduce((sum, one) => sum + one.rowsRead, 0)
  return { path, status, requests: requests.length, rowsRead, bytes, milliseconds: times[ROUNDS >> 1] ?? Number.NaN }
}

function problemsOf(page: Measured): string[] {
  const { path, status, requests, rowsRead, bytes } = page
  return [
    ...(status === 200 ? [] : [`${path}: ${status}`]),
    ...(requests <= 1 ? [] : [`${path}: ${requests} D1 requests`]),
    ...(isFile(path) || rowsRead <= MAX_ROWS ? [] : [`${path}: ${number(rowsRead)} rows`]),
    ...(isFile(path) || bytes <= MAX_BYTES ? [] : [`${path}: ${number(bytes)} bytes`]),
  ]
}

function describe(pages: readonly Measured[]): string {
  const short = (path: string) => path.replace(/([a-z]+)_[0-9A-Z]{26}/g, ':$1')
  return table(
    ['page', 'D1 requests', 'rows read', 'KB', 'ms'],
    pages.map(({ path, requests, rowsRead, bytes, milliseconds }) => [
      short(path),
      String(requests),
      number(rowsRead),
      number(bytes / 1000, 1),
      number(milliseconds),
    ]),
  )
}
