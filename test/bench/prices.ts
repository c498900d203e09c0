import type { Counts } from './counts.ts'

/** Cloudflare's prices on the Workers Paid plan, beyond what it includes, in dollars per million. */
export const PRICES = {
  requests: 0.3,
  cpuMilliseconds: 0.02,
  rowsRead: 0.001,
  rowsWritten: 1,
  source:
    'https://developers.cloudflare.com/workers/platform/pricing/ and https://developers.cloudflare.com/d1/platform/pricing/',
}

/** Dollars for a million requests. `cpu` is in microseconds; one that is unknown counts as none. */
export function costPerMillion({ rowsRead, rowsWritten }: Counts, cpu: number): number {
  return (
    PRICES.requests +
    ((Number.isNaN(cpu) ? 0 : cpu) / 1000) * PRICES.cpuMilliseconds +
    rowsRead * PRICES.rowsRead +
    rowsWritten * PRICES.rowsWritten
  )
}
