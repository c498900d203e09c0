import sql, { raw, type Sql } from 'sql-template-tag'
import { limitTo } from './statements.ts'

/** A request for one page of a list. */
export interface PageRequest {
  readonly limit: number
  /** Oldest first, or newest first. */
  readonly order: 'asc' | 'desc'
  /** The page comes before or after the item with this ID, in the page's order. */
  readonly cursor: { readonly id: string; readonly side: 'before' | 'after' } | null
}

export interface Page<Item> {
  readonly items: readonly Item[]
  /** The cursors of the neighbouring pages, in the page's order; null if there is no such page. */
  readonly before: string | null
  readonly after: string | null
}

/** Returns true if the rows are read in ascending order. A page before its cursor is read backwards from the cursor. */
export function isAscending({ order, cursor }: PageRequest): boolean {
  return (order === 'asc') !== (cursor?.side === 'before')
}

/** SQL for ORDER BY, in the order of reading. */
export function orderBy(column: 'id' | 'seq', request: PageRequest): Sql {
  return sql`ORDER BY ${raw(column)} ${raw(isAscending(request) ? 'ASC' : 'DESC')}`
}

/** SQL for LIMIT. It includes one row more than the page, which shows whether there is a next page. */
export function limitToPage({ limit }: PageRequest): Sql {
  return limitTo(limit + 1)
}

/** Creates a page from items in the order of reading. `next` and `back` are the cursors in that order. */
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
