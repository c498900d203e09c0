/** The sums of the figures of the D1 requests of one task. Null if D1 did not report one. */
export interface Figures {
  /** Requests of this Worker, its retries included. */
  requests: number
  /** Attempts of D1, which repeats reads by itself (`total_attempts`). */
  attempts: number | null
  rowsRead: number | null
  rowsWritten: number | null
  /** Waiting time in milliseconds, including the network to D1. */
  waited: number
  /** Milliseconds of work in D1. */
  sql: number | null
  /** The location of the database that responded last. */
  region: string | null
  /** The size of the database in bytes, after the last statement. */
  size: number | null
}

export function newFigures(): Figures {
  return {
    requests: 0,
    attempts: null,
    rowsRead: null,
    rowsWritten: null,
    waited: 0,
    sql: null,
    region: null,
    size: null,
  }
}

/** Adds the answer to one D1 request. Never fails: the batch has been committed. */
export function addAnswer(figures: Figures, results: readonly { readonly meta?: Partial<D1Meta> }[]): void {
  let attempts = 0
  for (const { meta } of results) {
    if (!meta) continue
    figures.rowsRead = sum(figures.rowsRead, meta.rows_read)
    figures.rowsWritten = sum(figures.rowsWritten, meta.rows_written)
    figures.sql = sum(figures.sql, meta.timings?.sql_duration_ms)
    // Each statement of a batch has the attempts of the whole batch.
    attempts = Math.max(attempts, meta.total_attempts ?? 0)
    figures.region = meta.served_by_region ?? figures.region
    figures.size = meta.size_after ?? figures.size
  }
  if (attempts > 0) figures.attempts = sum(figures.attempts, attempts)
}

function sum(total: number | null, more: number | undefined): number | null {
  return more === undefined ? total : (total ?? 0) + more
}
