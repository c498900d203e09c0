import type { Context } from 'hono'

/** A spreadsheet runs such a value as a formula (OWASP, CSV Injection). Callers choose names. */
const FORMULA = /^[=+\-@\t\r]/

/** RFC 4180. Every value is quoted, and a value that looks like a formula begins with an apostrophe. */
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

/** A file to save. A browser does not render it, whatever is in it. */
export function fileResponse(c: Context, name: string, type: 'text/csv' | 'application/json', text: string): Response {
  return c.body(text, 200, {
    'Content-Type': `${type}; charset=UTF-8`,
    'Content-Disposition': `attachment; filename="${name}"`,
  })
}
