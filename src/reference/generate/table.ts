import { html } from 'hono/html'
import type { Html } from './members.ts'

export interface Row {
  readonly id?: string
  readonly cells: readonly (Html | string)[]
}

/**
 * A table. On phones each row becomes a card: the first cell is its title. If there is more than one other cell, each is
 * labelled with the name of its column.
 */
export function table(columns: readonly string[], rows: readonly Row[]): Html {
  return html`<table>
<thead><tr>${columns.map((column) => html`<th>${column}</th>`)}</tr></thead>
<tbody>${rows.map(
    ({ id, cells }) => html`<tr${id ? html` id="${id}"` : ''}>${cells.map((cell, i) => {
      const label = i > 0 && columns.length > 2 ? html` data-label="${columns[i]}"` : ''
      return html`<td${label}><span>${cell}</span></td>`
    })}</tr>
`,
  )}</tbody>
</table>`
}
