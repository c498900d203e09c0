/** The totals over all D1 requests of one task. A member is null if D1 did not report the figure. */
export interface Figures {
  /** Requests that this Worker sent, including retries. */
  requests: number
  /** Attempts that D1 reports (`total_attempts`). D1 retries reads itself. */
  attempts: number | null
  rowsRead: number | null
  rowsWritten: number | null
  /** Waiting time in milliseconds, including the network time. */
  waited: number
  /** SQL execution time in milliseconds. */
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

/** Adds the figures of one D1 response. It must not throw, because the batch has been committed. */
export function addAnswer(figures: Figures, results: readonly { readonly meta?: Partial<D1Meta> }[]): void {
  let attempts = 0
  for (const { meta } of results) {
    if (!meta) continue
    figures.rowsRead = sum(figures.rowsRead, meta.rows_read)
    figures.rowsWritten = sum(figures.rowsWritten, meta.rows_written)
    figures.sql = sum(figures.sql, meta.timings?.sql_duration_ms)
    // Every statement reports the attempts of the whole batch.
    attempts = Math.max(attempts, meta.total_attempts ?? 0)
    figures.region = meta.served_by_region ?? figures.region
    figures.size = meta.size_after ?? figures.size
  }
  if (attempts > 0) figures.attempts = sum(figures.attempts, attempts)
}

function sum(total: number | null, more: number | undefined): number | null {
  return more === undefined ? total : (total ?? 0) + more
}
