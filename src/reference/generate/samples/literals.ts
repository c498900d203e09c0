import { type Part, partsOf } from './request.ts'

/** The notation of values in a language. */
export interface Syntax {
  readonly string: (parts: readonly Part[]) => string
  /** The start of a member of an object, with its separator: `name: `. */
  readonly key: (name: string) => string
  readonly object: readonly [open: string, close: string]
  /** The text between a bracket and the members of an object on one line. */
  readonly space?: string
  /** The words for `null`, `true` and `false`, if they differ from JSON. */
  readonly words?: Readonly<Record<string, string>>
  /** One level of indentation. Two spaces by default. */
  readonly indent?: string
}

/** An object or array is on one line if its content has at most this length. */
const MAX_LINE_LENGTH = 48

/** Writes a JSON value as a literal of the language. The lines after the first one begin with `indent`. */
export function literal(syntax: Syntax, value: unknown, indent = ''): string {
  if (typeof value === 'string') return syntax.string(partsOf(value))
  if (Array.isArray(value))
    return enclosed(
      syntax,
      ['[', ']'],
      '',
      value.map((item) => ['', item]),
      indent,
    )
  if (value === null || typeof value !== 'object') return syntax.words?.[String(value)] ?? String(value)
  const members = Object.entries(value).map(([name, member]) => [syntax.key(name), member] as [string, unknown])
  return enclosed(syntax, syntax.object, syntax.space ?? '', members, indent)
}

function enclosed(
  syntax: Syntax,
  [open, close]: readonly [string, string],
  space: string,
  items: readonly (readonly [start: string, value: unknown])[],
  indent: string,
): string {
  if (items.length === 0) return open + close
  const line = items.map(([start, value]) => start + literal(syntax, value)).join(', ')
  if (line.length <= MAX_LINE_LENGTH && !line.includes('\n')) return `${open}${space}${line}${space}${close}`
  const inner = indent + (syntax.indent ?? '  ')
  const lines = items.map(([start, value]) => `${inner}${start}${literal(syntax, value, inner)},`)
  return [open, ...lines, indent + close].join('\n')
}

/** Joins the parts of a text with an operator: `'Bearer ' + key`. */
export function concatenated(
  parts: readonly Part[],
  quote: (text: string) => string,
  variable: (name: string) => string,
  operator: string,
): string {
  return parts.map((part) => ('text' in part ? quote(part.text) : variable(part.variable))).join(operator) || quote('')
}

/**
 * A string literal that contains variables, such as `${variable}` in JavaScript. A text without variables is in plain
 * quotes.
 */
export function template(
  parts: readonly Part[],
  plain: (text: string) => string,
  [open, close]: readonly [string, string],
  escaped: (text: string) => string,
  variable: (name: string) => string,
): string {
  const [only, ...others] = parts
  if (others.length === 0 && (!only || 'text' in only)) return plain(only?.text ?? '')
  return open + parts.map((part) => ('text' in part ? escaped(part.text) : variable(part.variable))).join('') + close
}
