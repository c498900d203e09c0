import type { Context } from 'hono'

/**
 * A spreadsheet runs a value with such a first character as a formula (OWASP, CSV Injection), and callers choose names.
 */
const FORMULA = /^[=+\-@\t\r]/

/**
 * Formats rows as CSV (RFC 4180). Every value is quoted, and a value that looks like a formula begins with an
 * apostrophe.
 */
export function csvOf<Row>(
  columns: Readonly<Record<string, (row: Row) => string | null>>,
  rows: readonly Row[],
): string {
  const line = (values: readonly (string | null)[]) => `${values.map(cell).join(',')}\r\n`
  return [line(Object.keys(columns)), ...rows.map((row) => line(Object.values(columns).map((read) => read(row))))].join(
    '',
  )
}

function cell(value: string | null): string {
  const text = value ?? ''
  return `"${(FORMULA.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`
}

/** A response that the browser saves as a file. The browser does not render it, so its content is harmless. */
export function fileResponse(c: Context, name: string, type: 'text/csv' | 'application/json', text: string): Response {
  return c.body(text, 200, {
    'Content-Type': `${type}; charset=UTF-8`,
    'Content-Disposition': `attachment; filename="${name}"`,
  })
}
