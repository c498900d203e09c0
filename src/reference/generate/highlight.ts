import { createRequire } from 'node:module'
import { raw } from 'hono/html'
import type { Html } from './members.ts'

// The library is not imported with its types, because these would add the types of browsers to every file.
const require = createRequire(import.meta.url)
const hljs = require('highlight.js') as {
  readonly highlight: (code: string, options: { readonly language: string }) => { readonly value: string }
}

/**
 * The HTML element for each kind of syntax token. The names are short, because the page has thousands of these
 * elements. Kinds that are not listed have no colour.
 */
const ELEMENTS: Readonly<Record<string, string>> = {
  keyword: 'b',
  built_in: 'b',
  attr: 'b',
  string: 'i',
  regexp: 'i',
  number: 'u',
  literal: 'u',
  variable: 'u',
  comment: 'em',
}

const ENTITIES: Readonly<Record<string, string>> = { '&quot;': '"', '&#x27;': "'" }

/** Highlights code at build time. The text of the result is exactly the code. */
export function highlighted(code: string, language: string): Html {
  const open: string[] = []
  const html = hljs
    .highlight(code, { language })
    .value.replace(/<span class="hljs-(\w+)[^"]*">|<\/span>/g, (_, kind) => {
      if (kind === undefined) return open.pop() as string
      const element = ELEMENTS[kind as string]
      open.push(element ? `</${element}>` : '')
      return element ? `<${element}>` : ''
    })
  return raw(html.replace(/&quot;|&#x27;/g, (entity) => ENTITIES[entity] as string)) as Html
}
