import { html } from 'hono/html'
import { badge, type Call } from './call.ts'
import type { Html } from './members.ts'

export interface Entry {
  readonly id: string
  readonly title: string
  readonly method?: string
}

export interface Chapter {
  readonly id: string
  readonly title: string
  readonly entries: readonly Entry[]
}

export function entryOf({ method, operation }: Call): Entry {
  return { id: operation.operationId, title: operation.summary, method }
}

/**
 * The table of contents: a column beside the page, or on phones a layer over it. The link of the bar opens the layer by
 * `:target`. Every link in the layer closes it, because the target changes. `#close` is in the layer, so that closing
 * the layer does not scroll the page.
 */
export function navigation(chapters: readonly Chapter[]): Html {
  return html`<div class="bar"><a href="#contents">Contents</a> <span></span></div>
<nav class="contents" id="contents" aria-label="Contents">
<a class="close" id="close" href="#close">Close</a>
<search hidden><input type="search" aria-label="Filter the contents" placeholder="Filter (/ or Ctrl+K)" autocomplete="off" spellcheck="false"></search>
${chapters.map(
  ({ id, title, entries }) => html`<h2><a href="#${id}">${title}</a></h2>
<ul>${entries.map(
    ({ id, title, method }) => html`<li><a href="#${id}">${title}${method ? html` ${badge(method)}` : ''}</a></li>`,
  )}</ul>
`,
)}</nav>`
}
