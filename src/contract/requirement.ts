import * as v from 'valibot'

/** What is wrong with one parameter. */
export interface InvalidParameter {
  readonly field: string
  readonly code: string
  readonly message: string
}

/** The message of a schema's rule: `code` for programs, words for people. Neither has the input in it. */
export function requirement(code: string, words: string): string {
  return `${code}: ${words}`
}

/** Reads what `requirement` wrote, and words the rest: Valibot's own messages repeat the input. */
export function describe(issue: v.BaseIssue<unknown>): InvalidParameter {
  const field = v.getDotPath(issue) ?? ''
  const [, code, words] = /^([a-z_]+): (.*)$/s.exec(issue.message) ?? [null, ...ofTheType(issue)]
  const name = field.replace(/\.\d+/g, '').replaceAll('.', '_')
  return { field, code: name ? `${name}_${code}` : `${code}`, message: `${field || 'The body'} ${words}` }
}

function ofTheType({ received, expected }: v.BaseIssue<unknown>): [string, string] {
  if (received === 'undefined') return ['required', 'is required.']
  return ['invalid', expected ? `must be of type ${expected}.` : 'is not valid.']
}
