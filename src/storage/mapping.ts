import { raw, type Sql } from 'sql-template-tag'
import { unreadable } from './database.ts'

/** The column of a member. If the stored value must be converted, also the function that converts it. */
type Column<Value> = string | readonly [column: string, read: (value: never) => Value]

export interface Mapping<T> {
  /** SQL for the columns. */
  readonly columns: Sql
  /** SQL for a row as JSON. Events store it, and `fromRow` can read it. */
  readonly snapshot: Sql
  readonly fromRow: (row: object) => T
}

/**
 * Creates the mapping between a table's rows and objects. Column names are constants in the code, so they need no
 * quoting.
 */
export function mapping<T extends object>(
  table: string,
  members: { readonly [Member in keyof T]-?: Column<T[Member]> },
): Mapping<T> {
  const fields = Object.entries<Column<unknown>>(members).map(([member, column]) => {
    const [name, read] = typeof column === 'string' ? [column] : column
    return { member, name, read: read as ((value: unknown) => unknown) | undefined }
  })
  return {
    columns: raw(fields.map(({ name }) => `${table}.${name}`).join(', ')),
    snapshot: raw(`json_object(${fields.map(({ name }) => `'${name}', ${table}.${name}`).join(', ')})`),
    fromRow: (row) => {
      const values = row as Readonly<Record<string, unknown>>
      // The first member is the ID. If it is missing, the result is invalid.
      if (!values[fields[0]?.name ?? '']) throw unreadable()
      return Object.fromEntries(
        fields.map(({ member, name, read }) => [member, read ? read(values[name]) : values[name]]),
      ) as T
    },
  }
}

/** SQLite has no booleans, so the column has 0 or 1. */
export const flag = (value: 0 | 1): boolean => value === 1
export const json = (text: string) => JSON.parse(text)
/** The value is undefined in the data of an event that is older than the column. */
export const jsonOrNull = (text: string | null | undefined) => (text == null ? null : JSON.parse(text))
