import sql, { raw, type Sql } from 'sql-template-tag'
import { rangesAround } from '../credential/ip-ranges.ts'

/**
 * A frozen environment issues nothing, and refuses whatever lets a credential do more, or work for longer. The conditions
 * compare a new value with the one that a row has.
 */

/** Condition: a limit that may be NULL, which means none, is moved up or removed. */
export function isMore(value: number | null | Sql, column: string): Sql {
  return sql`coalesce(${value} > ${raw(column)}, ${raw(column)} IS NOT NULL)`
}

/** Condition: a list has an item that the list of the row has not. */
export function hasMore(list: readonly string[], column: string): Sql {
  return sql`EXISTS (SELECT 1 FROM json_each(${JSON.stringify(list)})
    WHERE value NOT IN (SELECT value FROM json_each(${raw(column)})))`
}

/** Condition: the scopes that limit a secret are more, or no more limited. */
export function allowsMoreScopes(scopes: readonly string[] | null, column: string): Sql {
  return sql`(${raw(column)} IS NOT NULL AND ${scopes === null ? sql`true` : hasMore(scopes, column)})`
}

/** Condition: a range is new that is not within one of the row, or the ranges are removed. */
export function allowsMoreAddresses(ranges: readonly string[] | null, column: string): Sql {
  if (ranges === null) return sql`${raw(column)} IS NOT NULL`
  return sql`(${raw(column)} IS NOT NULL AND EXISTS (SELECT 1 FROM json_each(${JSON.stringify(ranges.map(rangesAround))}) AS range
    WHERE NOT EXISTS (SELECT 1 FROM json_each(range.value) AS wider
      WHERE wider.value IN (SELECT value FROM json_each(${raw(column)})))))`
}
