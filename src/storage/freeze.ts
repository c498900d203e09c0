import sql, { raw, type Sql } from 'sql-template-tag'
import { rangesAround } from '../credential/ip-ranges.ts'

/**
 * Conditions for changes in a frozen environment, which issues no credentials, and refuses changes that let a
 * credential do more or work for longer. Each condition compares a new value with the stored one.
 */

/** Condition: the new limit is higher than the stored one, or removes it. NULL is no limit. */
export function isMore(value: number | null | Sql, column: string): Sql {
  return sql`coalesce(${value} > ${raw(column)}, ${raw(column)} IS NOT NULL)`
}

/** Condition: the new list has an item that the stored list does not have. */
export function hasMore(list: readonly string[], column: string): Sql {
  return sql`EXISTS (SELECT 1 FROM json_each(${JSON.stringify(list)})
    WHERE value NOT IN (SELECT value FROM json_each(${raw(column)})))`
}

/** Condition: the new list of scopes has additional scopes, or removes the limit on scopes. */
export function allowsMoreScopes(scopes: readonly string[] | null, column: string): Sql {
  return sql`(${raw(column)} IS NOT NULL AND ${scopes === null ? sql`true` : hasMore(scopes, column)})`
}

/** Condition: a new range is not contained in any stored range, or the limit on IP addresses is removed. */
export function allowsMoreAddresses(ranges: readonly string[] | null, column: string): Sql {
  if (ranges === null) return sql`${raw(column)} IS NOT NULL`
  return sql`(${raw(column)} IS NOT NULL AND EXISTS (SELECT 1 FROM json_each(${JSON.stringify(ranges.map(rangesAround))}) AS range
    WHERE NOT EXISTS (SELECT 1 FROM json_each(range.value) AS wider
      WHERE wider.value IN (SELECT value FROM json_each(${raw(column)})))))`
}
