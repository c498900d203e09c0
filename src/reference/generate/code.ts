import { html } from 'hono/html'
import { highlighted } from './highlight.ts'
import type { Html } from './members.ts'

export interface Tab {
  /** The value by which the browser script finds the same choice in other groups of tabs. */
  readonly value?: string
  readonly label: string
  readonly content: Html
}

/** Code that scrolls, also by keyboard. The browser script adds a copy button to every `.block`. */
export function codeBlock(code: string, language: string): Html {
  return html`<div class="block"><pre tabindex="0"><code>${highlighted(code, language)}</code></pre></div>`
}

/**
 * Tabs that work without a script: each is a radio button, followed by its panel. The first tab is open. `name` should
 * be short, because every button has it.
 */
export function tabs(name: string, label: string, all: readonly Tab[]): Html {
  return html`<div class="radios" role="radiogroup" aria-label="${label}">
${all.map(
  ({ value, label, content }, i) =>
    html`<label><input type="radio" name="${name}"${value ? html` value="${value}"` : ''}${i === 0 ? html` checked` : ''}>${label}</label><div class="pane">${content}</div>
`,
)}</div>`
}

/** JSON with a line per member. A short array of plain values stays on one line. */
export function pretty(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(
    /\[\s+([^[\]{}]{1,60}?)\s+\]/g,
    (_, items: string) => `[${items.replace(/\s*\n\s*/g, ' ')}]`,
  )
}
