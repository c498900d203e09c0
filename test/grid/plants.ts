/**
 * Faults of a product, between the product and its database, where each would have the same effect as in the product. The
 * instruments must find them.
 */
export type Plant =
  | 'lost write'
  | 'doubled event'
  | 'late commit'
  | 'guessed verdict'
  | 'skipped tenant condition'
  | 'torn change'
  | 'stale read'
  | 'logged credential'

export interface Prepared {
  readonly sql: string
  readonly values: readonly unknown[]
}
type Send = (statements: readonly Prepared[]) => Promise<D1Result[]>

/** Sends a batch as a product with this fault would have sent it. `fix` sends a statement that no product sends. */
export async function planted(
  plant: Plant | undefined,
  statements: readonly Prepared[],
  send: Send,
  fix: (sql: string, ...values: unknown[]) => Promise<unknown>,
): Promise<D1Result[]> {
  const rewritten = (pattern: RegExp, text: string) =>
    statements.map(({ sql, values }) => ({ sql: sql.replace(pattern, text), values }))
  const isRead = statements.every(({ sql }) => sql.trimStart().startsWith('SELECT'))
  const event = statements.flatMap(({ values }) => values).find((value) => /^event_/.test(`${value}`))
  switch (plant) {
    case 'lost write': {
      const results = await send(statements)
      if (isRead) return results
      await fix('UPDATE client_secrets SET revoked_at = NULL WHERE event_id = ?', event)
      return results
    }
    case 'doubled event': {
      const results = await send(statements)
      await fix(
        `INSERT INTO events (seq, id, environment_id, type, data, created_at)
         SELECT (SELECT max(seq) FROM events) + 1, id || '2', environment_id, type, data, created_at FROM events WHERE id = ?`,
        event ?? null,
      )
      return results
    }
    case 'late commit':
      return send(rewritten(/unixepoch\('subsec'\) \* 1000 < \?/g, '0 < ?'))
    case 'guessed verdict':
      return send(statements).catch((error) => {
        if (!isRead) throw error
        return statements.map(() => ({ success: true, results: [], meta: {} }) as unknown as D1Result)
      })
    case 'skipped tenant condition':
      return send(
        rewritten(/(\w+\.)?environment_id = (\(SELECT environment_id FROM|caller\.environment_id)/g, "'' <> $2"),
      )
    case 'stale read': {
      if (!isRead) return send(statements)
      const key = JSON.stringify(
        statements.map(({ sql, values }) => [sql, values.filter((v) => typeof v !== 'number')]),
      )
      const known = kept.get(key)
      if (known && Date.now() < known.until) return known.results
      const results = await send(statements)
      kept.set(key, { results, until: Date.now() + STALE_MS })
      return results
    }
    default:
      return send(statements)
  }
}

const STALE_MS = 5_000
const kept = new Map<string, { readonly results: D1Result[]; readonly until: number }>()
