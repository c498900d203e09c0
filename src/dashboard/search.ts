import * as v from 'valibot'
import { Person } from '../contract/fields.ts'
import { mayContainCredential } from '../credential/credential.ts'
import type { Search } from '../storage/find.ts'

/**
 * Reads what people paste into the search field: a name, an ID, trailing characters, a whole secret in any wrapping.
 */

/** The number of trailing characters that D1 stores. */
const HINT_LENGTH = 6
/** The maximum length of a name. */
const MAX_TEXT = 255
/** IDs have at most 26 alphanumerics in a row. A longer run is a credential, or a large part of one. */
const LONG_RUN = /[0-9A-Za-z]{27,}/
/** Trailing characters after an ellipsis or a mask: `…0s89CN`, `****89CN`. */
const MASKED = /(?:…|\.{3}|[*•·]{2})([0-9A-Za-z]{4,12})\W*$/
/** Characters that may be the end of a secret, in quotes or not. */
const ENDING = /^\W*([0-9A-Za-z]{4,12})\W*$/
/** A part of a secret has small letters, capital letters and digits. IDs have no small letters. */
const PART = /^\W*(?=\w*[a-z])(?=\w*[A-Z])(?=\w*\d)([0-9A-Za-z]{13,26})\W*$/

/** The last six characters of a credential in a text; null if there is none. */
export function hintOfCredential(text: string): string | null {
  return mayContainCredential(text) ? ending(/[0-9A-Za-z]{40,}/.exec(text)?.[0] ?? '') : null
}

/** Null if there is nothing to search for. */
export function readSearch(input: string): Search | null {
  const secret = LONG_RUN.exec(input)?.[0] ?? MASKED.exec(input)?.[1] ?? PART.exec(input)?.[1]
  if (secret) return { hint: ending(secret), text: null }
  const text = input
    .trim()
    .replace(/^["'`](.*)["'`]$/, '$1')
    .replace(/\s+/g, ' ')
    .slice(0, MAX_TEXT)
  const hint = ENDING.exec(text)?.[1]
  return /[\p{L}\p{N}]/u.test(text) ? { hint: hint ? ending(hint) : null, text } : null
}

function ending(text: string): string {
  return text.slice(-HINT_LENGTH)
}

/** The page that finds a secret. */
export function findPath(hint: string): string {
  return `/dashboard/find?hint=${hint}`
}

/** The address of a search. It has at most six characters of a secret. */
export function searchPath({ hint, text }: Search): string {
  return text === null ? findPath(hint ?? '') : `/dashboard/find?${new URLSearchParams({ q: text })}`
}

/** The text if it can be the email address of a person; empty otherwise. */
export function emailIn(text: string): string {
  return hintOfCredential(text) === null && v.is(Person, text) ? text : ''
}
