import { readFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { sha256, toHex } from '../../src/credential/digest.ts'
import { newSigningKey } from '../../src/credential/signing-key.ts'
import { Runtime } from '../bench/runtime.ts'
import { doubled, effectOf, isSame, normal } from './effect.ts'
import type { Case, Plan, Report } from './faults.ts'
import { judge, leaksOf, type Outcome, type Reply } from './oracle.ts'
import type { Plant } from './plants.ts'
import type { GridRequest } from './requests.ts'
import { newTemplate, type Rows, type Template, type World } from './world.ts'

/** Region by binding. */
export const REGIONS = new Map([
  ['DB', '0'],
  ['DB_1', '1'],
])
const WORKER = 'grid'
const CREDENTIAL = /\b(cs|sk|session|whsec)_[0-9A-Z][0-9A-Za-z]{49}\b/

export interface Learnt extends Outcome {
  readonly body: string
  readonly report: Report
}

/** The result of a case. */
export interface Ran {
  readonly problems: readonly string[]
  readonly status: number
  readonly isMissed: boolean
}

export interface NamedCase {
  readonly name: string
  readonly binding: string
  readonly request: GridRequest
  readonly reference: Learnt
  readonly of: Case
}

/** The case without a fault. */
export const FOREIGN = 'objects of another environment'
/** Values of the world that name its objects. */
const OBJECTS = [
  'application',
  'client',
  'second',
  'secret',
  'expiring',
  'disabled',
  'key',
  'otherSession',
  'endpoint',
  'event',
]

/** True if the route changes nothing, so that no outcome is unknown. */
function isRead({ method, path }: GridRequest): boolean {
  return method === 'GET' || /^\/oauth2\/|\/(verify|bulk|test)$/.test(path)
}

export function namesObject({ path, form, json }: GridRequest): boolean {
  return new RegExp(`\\{(${OBJECTS.join('|')})\\}`).test(JSON.stringify([path, form, json]))
}

/** The modules of the Worker, which imports the product. */
export async function gridWorker(): Promise<Record<string, string>> {
  const names = ['worker.ts', 'plants.ts', 'faults.ts']
  const texts = await Promise.all(names.map((name) => readFile(join(import.meta.dirname, name), 'utf8')))
  return Object.fromEntries(names.map((name, i) => [`test/grid/${name}`, stripTypeScriptTypes(texts[i] ?? '')]))
}

/** The product over databases that fail as a case asks for. */
export class Grid {
  readonly #runtime: Runtime
  readonly #templates: ReadonlyMap<string, Template>
  readonly #foreign: ReadonlyMap<string, World>
  /** Worlds that no case has changed. */
  readonly #unused = new Map<string, World[]>()
  private constructor(runtime: Runtime, templates: Map<string, Template>, foreign: Map<string, World>) {
    this.#runtime = runtime
    this.#templates = templates
    this.#foreign = foreign
  }

  static async start(script: string): Promise<Grid> {
    const runtime = await Runtime.start([
      {
        name: WORKER,
        script,
        wrapper: await gridWorker(),
        databases: Object.fromEntries([...REGIONS.keys()].map((binding) => [binding, binding])),
        bindings: {
          ISSUER: 'http://127.0.0.1:8787',
          SIGNING_KEY: JSON.stringify(await newSigningKey('ES256')),
          REGIONS: [...REGIONS].map(([binding, digit]) => `${digit}=${binding}`).join(','),
        },
      },
    ])
    const templates = new Map<string, Template>()
    const foreign = new Map<string, World>()
    for (const [binding, region] of REGIONS) {
      const template = await newTemplate({ database: runtime.database(binding), url: runtime.url(WORKER), region })
      templates.set(binding, template)
      foreign.set(binding, await template.copy())
    }
    return new Grid(runtime, templates, foreign)
  }

  stop(): Promise<void> {
    return this.#runtime.stop()
  }

  #template(binding: string): Template {
    return this.#templates.get(binding) as Template
  }

  /** The request without a fault. */
  async learn(binding: string, request: GridRequest): Promise<Learnt> {
    const template = this.#template(binding)
    const world = await template.copy()
    const { reply, report } = await this.#send(request, await this.#withToken(world, request), {})
    return { reply, report, effect: effectOf(world.rows, await template.read(world)), body: bodyOf(reply) }
  }

  async run({ binding, request, reference, of }: NamedCase, plant: Plant | undefined): Promise<Ran> {
    const template = this.#template(binding)
    const isBehind = reference.report.sent[of.plan.request]?.isBehind ?? false
    const world = (!isBehind && this.#unused.get(binding)?.pop()) || (await template.copy())
    const values = await this.#withToken(world, request)
    const { reply, report } = await this.#send(request, values, { ...of.plan, ...(plant && { plant }) })
    let rows = await template.read(world)
    const effect = effectOf(world.rows, rows)
    const faulty = { reply, effect, body: bodyOf(reply), answeredMs: report.answeredMs }
    const isUnchanged = isSame(world.rows, rows)
    let again: Outcome | null = null
    if (!isUnchanged && reply.status !== reference.reply.status && request.isRepeatable) {
      const repeated = await this.#send(request, values, {})
      rows = await template.read(world)
      again = { reply: repeated.reply, effect: effectOf(world.rows, rows) }
    }
    if (isUnchanged) this.#unused.set(binding, [...(this.#unused.get(binding) ?? []), world])
    const isMissed = report.hits === 0
    const problems = judge({
      ...{ path: request.path, isRead: isRead(request), canBeLost: request.canBeLost ?? false },
      ...{ reference, faulty, again, of },
    })
    if (reply.status === 503) problems.push(...leaksOf(reply, credentialsOf(world)))
    problems.push(...doubled(rows), ...(await this.#problemsOfPlaintext(reply, rows)))
    problems.push(...this.#problemsOfForeign(reply))
    return { problems: isMissed ? [] : problems, status: reply.status, isMissed }
  }

  /** A caller of one environment names the objects of another: nothing is changed, and nothing is shown. */
  async runForeign({ binding, request }: NamedCase, plant: Plant | undefined): Promise<Ran> {
    const template = this.#template(binding)
    const [own, foreign] = [await template.copy(), await template.copy()]
    const objects = Object.fromEntries(OBJECTS.map((name) => [name, foreign.values[name] ?? '']))
    const values = { ...(await this.#withToken(own, request)), ...objects }
    const { reply } = await this.#send(request, values, plant ? { plant } : {})
    const changed = [own, foreign].map(async (world) => effectOf(world.rows, await template.read(world)))
    const problems = (await Promise.all(changed)).flat().map((effect) => `another environment: ${effect}`)
    const isRefused = reply.status >= 400 || /"(valid|active)":false/.test(reply.text)
    if (!isRefused) problems.push(`objects of another environment: ${reply.status} ${reply.text.slice(0, 200)}`)
    return { problems, status: reply.status, isMissed: false }
  }

  /** The world's values, and those that are made for one request. */
  async #withToken({ values }: World, request: GridRequest): Promise<Record<string, string>> {
    const own = {
      ...values,
      token: `${Date.now().toString(36)}-${crypto.randomUUID()}`,
      idempotencyKey: crypto.randomUUID(),
    }
    if (!JSON.stringify(request).includes('{accessToken}')) return own
    const token = await this.#send(
      {
        name: '',
        method: 'POST',
        path: '/oauth2/token',
        auth: 'basic',
        form: { grant_type: 'client_credentials' },
        isRepeatable: true,
      },
      own,
      {},
    )
    return { ...own, accessToken: JSON.parse(token.reply.text).access_token }
  }

  async #send(request: GridRequest, values: Readonly<Record<string, string>>, plan: Plan) {
    const fill = (text: string) => text.replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole)
    const url = this.#runtime.url(WORKER)
    const { method, path, auth, json, form, plaintext = '{plaintext}' } = request
    const headers: Record<string, string> = { Grid: JSON.stringify(plan), 'CF-Connecting-IP': address() }
    if (auth === 'bearer') headers.Authorization = fill('Bearer {apiKey}')
    if (auth === 'basic') headers.Authorization = `Basic ${btoa(fill(`{client}:${plaintext}`))}`
    if (auth === 'cookie') Object.assign(headers, { Cookie: fill('{cookieName}={session}'), Origin: url })
    if (json) headers['Content-Type'] = 'application/json'
    if (auth === 'bearer' && method === 'POST') headers['Idempotency-Key'] = fill('{idempotencyKey}')
    const fields = form && { ...form, ...(auth === 'cookie' && { environment: '{environment}' }) }
    const body = json
      ? fill(JSON.stringify(json))
      : fields && new URLSearchParams(Object.entries(fields).map(([name, value]) => [name, fill(value)]))
    const response = await fetch(url + fill(path), { method, headers, redirect: 'manual', ...(body && { body }) })
    const report: Report = JSON.parse(response.headers.get('Grid-Report') ?? 'null')
    const reply: Reply = { status: response.status, headers: response.headers, text: await response.text() }
    if (!report) throw new Error(`${request.name}: ${reply.status} ${reply.text}`)
    return { reply, report }
  }

  /** A plaintext that was shown authenticates: its digest is stored. */
  async #problemsOfPlaintext({ status, text }: Reply, rows: Rows): Promise<string[]> {
    const plaintext = status < 300 && /\bcs_[0-9A-Za-z]{50}\b/.exec(text)?.[0]
    if (!plaintext) return []
    const digest = toHex(await sha256(plaintext))
    const isStored = rows.client_secrets?.some((row) => toHex(new Uint8Array(row.digest as number[])) === digest)
    return isStored ? [] : ['the plaintext of the response is not the one whose digest is stored']
  }

  #problemsOfForeign({ text }: Reply): string[] {
    const strangers = [...this.#foreign.values()].flatMap(({ values }) => [
      values.application,
      values.client,
      values.secret,
    ])
    return strangers.some((id) => id && text.includes(id)) ? ['the response shows another environment'] : []
  }

  /** After all cases: the log, and the environments that no case was for. */
  async problemsOfLog(): Promise<string[]> {
    const problems: string[] = []
    for (const [binding, world] of this.#foreign) {
      if (!isSame(world.rows, await this.#template(binding).read(world)))
        problems.push(`${binding}: another environment was changed`)
    }
    const log = (await (await fetch(`${this.#runtime.url(WORKER)}/grid/log`)).json()) as string[]
    const leak = log.find((entry) => CREDENTIAL.test(entry))
    if (leak) problems.push(`the log has a credential: ${leak.slice(0, 300)}`)
    return problems
  }
}

const credentialsOf = ({ values: { apiKey = '', session = '', plaintext = '', disabledPlaintext = '' } }: World) => [
  apiKey,
  session,
  plaintext,
  disabledPlaintext,
]

/** Without what differs from run to run. Of a page its tags, because it says how long ago something was; of a file its lines. */
function bodyOf({ text, headers }: Reply): string {
  if (headers.has('Content-Disposition')) return `${text.split('\n').length} lines`
  if (headers.get('Content-Type')?.startsWith('text/html'))
    return text.replace(/>[^<]+</g, '><').replace(/="[^"]*"/g, '')
  // The retry of a sign-out finds the session ended, which says the same.
  return normal(`${headers.get('Location')?.replace('?ended=', '?out') ?? ''}\n${text}`)
}

/** An address of its own, so that the limit on failures does not answer in place of the route. */
function address(): string {
  const [a = 0, b = 0, c = 0] = crypto.getRandomValues(new Uint8Array(3))
  return `10.${a}.${b}.${c}`
}
