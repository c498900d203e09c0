import * as v from 'valibot'
import { Person } from '../contract/fields.ts'
import { mayContainCredential } from '../credential/credential.ts'
import type { Search } from '../storage/find.ts'

/**
 * Reads the input of the search field: a name, an ID, the trailing characters of a secret, or a whole secret with any
 * text around it, such as quotes or `KEY=`.
 */

/** The number of trailing characters of a secret that are stored. */
const HINT_LENGTH = 6
/** The maximum length of a name. */
const MAX_TEXT = 255
/** IDs have at most 26 alphanumerics in a row. A longer run is a credential, or a large part of one. */
const LONG_RUN = /[0-9A-Za-z]{27,}/
/** Trailing characters after an ellipsis or a mask: `…0s89CN`, `****89CN`. */
const MASKED = /(?:…|\.{3}|[*•·]{2})([0-9A-Za-z]{4,12})\W*$/
/** Characters that may be the end of a secret, with or without quotes. */
const ENDING = /^\W*([0-9A-Za-z]{4,12})\W*$/
/** A part of a secret, with lower-case letters, capitals and digits. An ID has none after its prefix. */
const PART = /^\W*(?=\w*[a-z])(?=\w*[A-Z])(?=\w*\d)([0-9A-Za-z]{13,26})\W*$/

/** Returns the last six characters of a credential in a text, or null if the text has none. */
export function hintOfCredential(text: string): string | null {
  return mayContainCredential(text) ? ending(/[0-9A-Za-z]{40,}/.exec(text)?.[0] ?? '') : null
}

/** Returns the search, or null if the input has nothing to search for. */
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

/** The URL of the page that finds a secret. */
export function findPath(hint: string): string {
  return `/dashboard/find?hint=${hint}`
}

/** The URL of a search. If the input was recognised as a part of a secret, the URL has only its last six characters. */
export function searchPath({ hint, text }: Search): string {
  return text === null ? findPath(hint ?? '') : `/dashboard/find?${new URLSearchParams({ q: text })}`
}

/** Returns the text if it is the email address of a person. Otherwise returns an empty text. */
export function emailIn(text: string): string {
  return hintOfCredential(text) === null && v.is(Person, text) ? text : ''
}
