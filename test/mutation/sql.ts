/** Each mutation of an operator or clause of SQL, and its replacement. */
const MUTATIONS: readonly [pattern: RegExp, replacement: string][] = [
  [/\bAND\b/g, 'OR'],
  [/\bOR\b(?! (IGNORE|REPLACE|ABORT|FAIL|ROLLBACK))/g, 'AND'],
  [/\bIS NULL\b/g, 'IS NOT NULL'],
  [/\bIS NOT NULL\b/g, 'IS NULL'],
  [/\bNOT EXISTS\b/g, 'EXISTS'],
  [/(?<!NOT )\bEXISTS\b/g, 'NOT EXISTS'],
  [/\bNOT IN\b/g, 'IN'],
  [/(?<!NOT )\bIN\b(?= *\()/g, 'NOT IN'],
  [/\bNOT (?=\(|$)/g, ''],
  // Not the assignments of an UPDATE, which would be a syntax error.
  [/(?<=\b(WHERE|AND|OR|ON|WHEN|CASE)\s+[\w.]+ )=(?= |$)/g, '<>'],
  [/<>/g, '='],
  [/(?<=[\s)])<(?=\s|$)/g, '<='],
  [/(?<=[\s)])>(?=\s|$)/g, '>='],
  [/<=/g, '<'],
  [/>=/g, '>'],
  [/(?<=\s)\+(?=\s|$)/g, '-'],
  [/(?<=\s)-(?=\s|$)/g, '+'],
  [/\bLEFT JOIN\b/g, 'JOIN'],
  [/\bDESC\b/g, 'ASC'],
  [/\bmax\(/g, 'min('],
  [/\bmin\(/g, 'max('],
  [/ON CONFLICT DO NOTHING/g, ''],
]

/** A part of an SQL statement with one operator or clause changed, once for each that it has. */
export function sqlMutations(sql: string): string[] {
  return MUTATIONS.flatMap(([pattern, replacement]) =>
    Array.from(sql.matchAll(pattern), ({ index, 0: found }) => {
      return sql.slice(0, index) + replacement + sql.slice(index + found.length)
    }),
  )
}
