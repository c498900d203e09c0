import type { Context } from 'hono'

/**
 * A spreadsheet runs a value that begins with one of these characters as a formula (OWASP, CSV Injection). Callers
 * choose names, so they could inject a formula.
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

/** A response that the browser saves as a file. The browser does not render the file, so markup in it has no effect. */
export function fileResponse(c: Context, name: string, type: 'text/csv' | 'application/json', text: string): Response {
  return c.body(text, 200, {
    'Content-Type': `${type}; charset=UTF-8`,
    'Content-Disposition': `attachment; filename="${name}"`,
  })
}
