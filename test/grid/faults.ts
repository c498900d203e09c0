import type { Plant } from './plants.ts'

/** The faults of the grid, and how a run tells the Worker of them. */

/** The errors that https://developers.cloudflare.com/d1/observability/debug-d1/ lists, and advises to retry. */
export const TRANSIENT = [
  'D1_ERROR: Network connection lost.',
  'D1_ERROR: D1 DB reset because its code was updated.',
  'D1_ERROR: Internal error while starting up D1 DB storage caused object to be reset.',
  'D1_ERROR: Internal error in D1 DB storage caused object to be reset.',
  'D1_ERROR: Cannot resolve D1 DB due to transient issue on remote node.',
  "D1_ERROR: Can't read from request stream because client disconnected.",
  'D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.',
]

/** Those that it lists, and advises to send less. */
export const OVERLOADED = [
  'D1_ERROR: D1 DB is overloaded. Requests queued for too long.',
  'D1_ERROR: D1 DB is overloaded. Too many requests queued.',
  "D1_ERROR: D1 DB's isolate exceeded its memory limit and was reset.",
  'D1_ERROR: D1 DB exceeded its CPU time limit and was reset.',
]

/** The faults that last until the operator acts: see `PERMANENT` in src/storage/database.ts. */
export const LASTING = [
  "D1_ERROR: Your account has exceeded D1's free tier daily limit of rows written.",
  'D1_ERROR: Exceeded maximum DB size.',
  'D1_ERROR: database or disk is full: SQLITE_FULL',
  'D1_ERROR: database disk image is malformed: SQLITE_CORRUPT',
  'D1_ERROR: file is not a database: SQLITE_NOTADB',
  'D1_ERROR: attempt to write a readonly database: SQLITE_READONLY',
  'D1_ERROR: no such column: later: SQLITE_ERROR',
  'D1_ERROR: frozen by a recovery: SQLITE_CONSTRAINT_TRIGGER',
]

/** Other errors; the last two are no Error. */
const UNKNOWN = [
  'D1_ERROR: UNIQUE constraint failed: client_secrets.digest: SQLITE_CONSTRAINT',
  'D1_TYPE_ERROR: Type mismatch',
  'D1_COLUMN_NOTFOUND: Column not found',
  'anything',
  'not an Error, but a string',
  null,
]

const TEXTS = [...TRANSIENT, ...OVERLOADED, ...LASTING, ...UNKNOWN]

const CORRUPTIONS_OF_RESULTS = ['cut', 'without rows'] as const
const CORRUPTIONS_OF_ROWS = ['null for a row', 'a row without columns', 'nulls for values'] as const
/** Of a statement that always returns a row. */
const CORRUPTION_OF_ONE_ROW = 'no row'
type Corruption = (typeof CORRUPTIONS_OF_RESULTS | typeof CORRUPTIONS_OF_ROWS)[number] | typeof CORRUPTION_OF_ONE_ROW

export type Fault =
  /** The statements before this one have run, and are rolled back. */
  | { readonly kind: 'before'; readonly statement: number; readonly text: string | null }
  /** The reply to the commit is lost. */
  | { readonly kind: 'after'; readonly text: string | null }
  /** D1 begins after the deadline. */
  | { readonly kind: 'stalled' }
  /** D1 commits at once, and replies after the deadline. */
  | { readonly kind: 'silent' }
  /** The reply to the commit is damaged. */
  | { readonly kind: 'corrupt'; readonly statement: number; readonly how: Corruption }

export interface Plan {
  /** REQUEST_BUDGET_MS; by default `LONG_MS`. */
  readonly budgetMs?: number
  /** The binding of the database that fails. */
  readonly binding?: string
  /** The number of the D1 request with the first fault. */
  readonly request?: number
  /** The faults of this D1 request and of the following ones. */
  readonly faults?: readonly Fault[]
  /** True if the last fault repeats until the end. */
  readonly isLasting?: boolean
  /** A fault of the product. */
  readonly plant?: Plant
}

/** One D1 request. */
export interface Sent {
  readonly binding: string
  readonly statements: number
  /** True if the response had gone out before. */
  readonly isBehind: boolean
  /** The number of rows that each statement returned. */
  rows: readonly number[]
}

export interface Report {
  readonly sent: readonly Sent[]
  /** How many faults were reached. */
  readonly hits: number
  readonly answeredMs: number
}

/** A case of the grid, for one route. */
export interface Case {
  readonly name: string
  readonly plan: Plan & Required<Pick<Plan, 'binding' | 'request' | 'faults'>>
  /** The response that is required, where only one is right. */
  readonly expected?: 'success'
  /** True if the fault lasts after the response: webhook deliveries may then take 30 seconds. */
  readonly lastsBehind?: boolean
}

/** The shortest and the longest that can be set. */
const SHORT_MS = 1_000
export const LONG_MS = 30_000

/**
 * The faults of one D1 request of a route. `isWhole`: every text at every statement; otherwise every text at one statement,
 * and every statement with a text. `hasOneRow`: each of its statements returns a row, whatever is stored.
 */
export function casesOf(
  request: number,
  { binding, statements, rows, isBehind }: Sent,
  { isWhole, hasOneRow }: { readonly isWhole: boolean; readonly hasOneRow: boolean },
): Case[] {
  const place = { binding, request }
  const at = Array.from({ length: statements }, (_, statement) => statement)
  const isRetried = (text: string | null) => TRANSIENT.includes(`${text}`)
  const expectedAfter = (text: string | null) => (isRetried(text) || isBehind ? { expected: 'success' as const } : {})
  const once = (name: string, faults: readonly Fault[], more: Partial<Case> = {}): Case => ({
    name,
    plan: { ...place, faults },
    ...more,
  })
  const slow = (name: string, faults: readonly Fault[]): Case => ({
    name,
    plan: { ...place, faults, isLasting: true, budgetMs: SHORT_MS },
    lastsBehind: isBehind,
  })
  const lost: Fault = { kind: 'after', text: TRANSIENT[0] as string }
  const before = isWhole
    ? TEXTS.flatMap((text) => at.map((statement) => ({ text, statement })))
    : Array.from({ length: Math.max(TEXTS.length, statements) }, (_, i) => ({
        text: TEXTS[i % TEXTS.length] as string | null,
        statement: i % statements,
      }))
  return [
    ...before.map(({ text, statement }) =>
      once(`before ${statement}: ${text}`, [{ kind: 'before', statement, text }], expectedAfter(text)),
    ),
    // A lasting fault is an error of a statement, after which nothing is committed.
    ...TEXTS.filter((text) => !LASTING.includes(`${text}`)).map((text) =>
      once(`after: ${text}`, [{ kind: 'after', text }], expectedAfter(text)),
    ),
    ...TEXTS.filter((text) => !isRetried(text) && (isWhole || LASTING.includes(`${text}`))).map((text) =>
      once(`lost, then before: ${text}`, [lost, { kind: 'before', statement: 0, text }]),
    ),
    ...TRANSIENT.slice(0, isWhole ? undefined : 1).flatMap((text) => [
      slow(`always before: ${text}`, [{ kind: 'before', statement: 0, text }]),
      slow(`always after: ${text}`, [{ kind: 'after', text }]),
    ]),
    slow('stalled', [{ kind: 'stalled' }]),
    slow('silent', [{ kind: 'silent' }]),
    slow('lost, then stalled', [lost, { kind: 'stalled' }]),
    ...at.flatMap((statement) =>
      [
        ...CORRUPTIONS_OF_RESULTS,
        ...(rows[statement] ? CORRUPTIONS_OF_ROWS : []),
        ...(hasOneRow ? ([CORRUPTION_OF_ONE_ROW] as const) : []),
      ].map((how) => once(`corrupt ${statement}: ${how}`, [{ kind: 'corrupt', statement, how }])),
    ),
  ]
}
