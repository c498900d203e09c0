import product from '../../src/index.ts'
import { type Fault, LONG_MS, type Plan, type Report, type Sent } from './faults.ts'
import { type Prepared, planted } from './plants.ts'

/** The product over databases that work, with faults on the way to them and back. The header `Grid` has the plan. */

type Bindings = Record<string, unknown>

/** Everything that the product has logged. */
const log: string[] = []
for (const level of ['log', 'warn', 'error', 'info', 'debug'] as const) {
  console[level] = (...entries: unknown[]) => void log.push(...entries.map((entry) => JSON.stringify(entry) ?? ''))
}
/** Webhooks stay inside. */
globalThis.fetch = async () => new Response()

const WITHOUT_BODY = [101, 204, 205, 304]

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    if (new URL(request.url).pathname === '/grid/log') return Response.json(log.splice(0))
    const headers = new Headers(request.headers)
    const plan = JSON.parse(headers.get('Grid') ?? '{}') as Plan
    headers.delete('Grid')
    if (plan.plant === 'logged credential') console.log({ authorization: headers.get('Authorization') })
    const run = new Run(plan)
    const background: Promise<unknown>[] = []
    const context = { waitUntil: (promise: Promise<unknown>) => void background.push(promise) }
    const response = await product.fetch(
      new Request(request, { headers }) as Request<unknown, IncomingRequestCfProperties>,
      run.bindings(env),
      context as unknown as ExecutionContext,
    )
    const body = await response.arrayBuffer()
    run.answered()
    while (background.length > 0) await Promise.allSettled(background.splice(0))
    const answer = new Response(WITHOUT_BODY.includes(response.status) ? null : body, response)
    answer.headers.set('Grid-Report', JSON.stringify(run.report()))
    return answer
  },
}

/** One request to the product. */
class Run {
  readonly #plan: Plan
  readonly #startedAt = Date.now()
  readonly #sent: Sent[] = []
  #hits = 0
  #answeredMs: number | undefined
  #wake: () => void = () => {}
  readonly #woken: Promise<void>

  constructor(plan: Plan) {
    this.#plan = plan
    this.#woken = new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  bindings(env: Env): Env {
    const all = env as unknown as Bindings
    const databases = Object.keys(all).filter((name) => /^DB(_|$)/.test(name))
    const wrapped = databases.map((name) => [name, this.#wrapped(name, all[name] as D1Database)])
    return { ...env, REQUEST_BUDGET_MS: this.#plan.budgetMs ?? LONG_MS, ...Object.fromEntries(wrapped) }
  }

  /** A stalled request goes on after its deadline. */
  answered(): void {
    this.#answeredMs = Date.now() - this.#startedAt
    setTimeout(this.#wake, Math.max((this.#plan.budgetMs ?? 0) - this.#answeredMs, 0) + 20)
  }

  report(): Report {
    return { sent: this.#sent, hits: this.#hits, answeredMs: this.#answeredMs ?? 0 }
  }

  #wrapped(name: string, binding: D1Database) {
    return {
      prepare: (sql: string) => ({ bind: (...values: unknown[]) => ({ sql, values }) }),
      batch: (statements: readonly Prepared[]) =>
        planted(
          this.#plan.plant,
          statements,
          (changed) => this.#send(name, binding, changed),
          (sql, ...values) =>
            binding
              .prepare(sql)
              .bind(...values)
              .run(),
        ),
    }
  }

  async #send(name: string, binding: D1Database, prepared: readonly Prepared[]): Promise<D1Result[]> {
    const statements = prepared.map(({ sql, values }) => binding.prepare(sql).bind(...values))
    const sent: Sent = {
      binding: name,
      statements: statements.length,
      isBehind: this.#answeredMs !== undefined,
      rows: [],
    }
    this.#sent.push(sent)
    const fault = this.#faultOf(name)
    const commit = async () => {
      const results = await binding.batch(statements)
      sent.rows = results.map(({ results }) => results.length)
      return results
    }
    if (!fault) return commit()
    this.#hits++
    switch (fault.kind) {
      case 'before': {
        // The statements before it have run in the transaction, which D1 rolls back.
        const begun = statements.slice(0, fault.statement)
        const failing = this.#plan.plant === 'torn change' ? [] : [binding.prepare("SELECT json('{')")]
        if (begun.length + failing.length > 0) await binding.batch([...begun, ...failing]).catch(() => {})
        throw thrown(fault.text)
      }
      case 'after':
        await commit()
        throw thrown(fault.text)
      case 'stalled':
        await this.#woken
        return commit()
      case 'silent': {
        const results = await commit()
        await this.#woken
        return results
      }
      case 'corrupt':
        return corrupted(await commit(), fault) as D1Result[]
    }
  }

  /** The fault of the request that is sent now: the plan has one for each, from its first one on. */
  #faultOf(name: string): Fault | undefined {
    const { binding, request = 0, faults = [], isLasting } = this.#plan
    const nth = this.#sent.filter((sent) => sent.binding === name).length - 1 - request
    if (name !== binding || nth < 0) return undefined
    return faults[isLasting ? Math.min(nth, faults.length - 1) : nth]
  }
}

/** Not every fault is an Error. */
function thrown(text: string | null): unknown {
  return text?.startsWith('not an Error') || text === null ? (text ?? undefined) : new Error(text)
}

function corrupted(results: D1Result[], { statement, how }: Extract<Fault, { kind: 'corrupt' }>): unknown {
  const result = results[statement] as D1Result
  const changed = (change: object) => results.with(statement, { ...result, ...change } as D1Result)
  const [first, ...others] = result.results as Record<string, unknown>[]
  switch (how) {
    case 'cut':
      return results.slice(0, statement)
    case 'without rows':
      return changed({ results: undefined })
    case 'no row':
      return changed({ results: [] })
    case 'null for a row':
      return changed({ results: [null, ...others] })
    case 'a row without columns':
      return changed({ results: [{}, ...others] })
    case 'nulls for values':
      // A count has no column that identifies it.
      if (!Object.keys(first ?? {}).some((name) => /(^|_)id$/.test(name))) return results
      return changed({ results: [Object.fromEntries(Object.keys(first ?? {}).map((name) => [name, null])), ...others] })
  }
}
