/** How SQLite runs the statements that a Worker has sent. */
export interface Plan {
  readonly sql: string
  readonly steps: readonly string[]
  /** Steps that read a whole table or index. */
  readonly scans: readonly string[]
}

/**
 * These are no scans of a table: of what the statement carries, of JSON, or of the rows that a subquery has found. The
 * schedule visits every webhook endpoint that is not deleted, once a minute: at most 20 in an environment.
 */
const SCAN =
  /^SCAN (?!CONSTANT ROW|json_each|request$|first$|\(|.* VIRTUAL TABLE|webhook_endpoints USING INDEX webhook_endpoints_by_environment)/

export async function plansOf(database: D1Database, statements: Iterable<string>): Promise<Plan[]> {
  const plans: Plan[] = []
  for (const sql of [...new Set(statements)].sort()) {
    const values = Array.from({ length: parametersOf(sql) }, () => null)
    const { results } = await database
      .prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .bind(...values)
      .all<{ detail: string }>()
    const steps = results.map(({ detail }) => detail)
    plans.push({ sql: sql.replace(/\s+/g, ' ').trim(), steps, scans: steps.filter((step) => SCAN.test(step)) })
  }
  return plans
}

/** The scans of all statements, each with its SQL. */
export async function scansOf(database: D1Database, statements: Iterable<string>): Promise<string[]> {
  const plans = await plansOf(database, statements)
  return plans.flatMap(({ sql, scans }) => scans.map((scan) => `${scan} in ${sql}`))
}

/** How many values a statement takes: `?` is one more than any before it, `?3` is the third. */
function parametersOf(sql: string): number {
  let most = 0
  for (const [, number] of sql.matchAll(/\?(\d*)/g)) most = Math.max(most, number ? Number(number) : most + 1)
  return most
}

export function describePlans(plans: readonly Plan[]): string {
  return plans.map(({ sql, steps }) => `${sql}\n${steps.map((step) => `    ${step}`).join('\n')}`).join('\n\n')
}
