import sql, { raw, type Sql } from 'sql-template-tag'
import { limitTo } from './statements.ts'

/** The page of a list that a caller asks for. */
export interface PageRequest {
  readonly limit: number
  /** The order of the page: oldest first, or newest first. */
  readonly order: 'asc' | 'desc'
  /** The page lies before or after the item with this ID, in the page's order. */
  readonly cursor: { readonly id: string; readonly side: 'before' | 'after' } | null
}

export interface Page<Item> {
  readonly items: readonly Item[]
  /** Cursors for the pages on either side, in the page's order; null if there is nothing more. */
  readonly before: string | null
  readonly after: string | null
}

/** The direction in which the rows are read: a page before its cursor is read backwards from there. */
export function isAscending({ order, cursor }: PageRequest): boolean {
  return (order === 'asc') !== (cursor?.side === 'before')
}

/** SQL for ORDER BY, in the reading direction. */
export function orderBy(column: 'id' | 'seq', request: PageRequest): Sql {
  return sql`ORDER BY ${raw(column)} ${raw(isAscending(request) ? 'ASC' : 'DESC')}`
}

/** SQL for LIMIT. One row more than the page tells whether there is a next page. */
export function limitToPage({ limit }: PageRequest): Sql {
  return limitTo(limit + 1)
}

/** Makes the page of items in the order in which they were read. `next` and `back` are the cursors in that order. */
export function toPage<Item>(
  { cursor }: PageRequest,
  items: Item[],
  next: string | null | undefined,
  back: string | null | undefined,
): Page<Item> {
  return cursor?.side === 'before'
    ? { items: items.reverse(), before: next ?? null, after: back ?? null }
    : { items, before: back ?? null, after: next ?? null }
}
