import { html } from 'hono/html'
import type { JsonSchema, Parameter } from './openapi.ts'
import { baseOf, type Direction, type Member, memberGroups, parameterMember, typeOf } from './shape.ts'

export type Html = ReturnType<typeof html>

/** Turns text between backticks into code, and `[text](#id)` into links. */
export function text(words: string): (Html | string)[] {
  return words.split('`').flatMap((part, i) => (i % 2 ? html`<code>${part}</code>` : linked(part)))
}

function linked(words: string): (Html | string)[] {
  return words.split(/(\[[^\]]+\]\(#\w+\))/).map((part) => {
    const [, name, id] = /^\[([^\]]+)\]\(#(\w+)\)$/.exec(part) ?? []
    return id === undefined ? part : html`<a href="#${id}">${name}</a>`
  })
}

/** Renders the members of an object, or the type of any other value. */
export function members(schema: JsonSchema, direction: Direction): Html {
  const item = schema.items?.properties || schema.items?.oneOf ? schema.items : undefined
  if (item) return html`<p class="kind">Each item:</p>${members(item, direction)}`
  if (!schema.properties && !schema.oneOf) return html`<p class="kind">${text(typeOf(schema))}</p>`
  const base = baseOf(schema)
  return html`${base && html`<p>${text(base)}</p>`}${memberGroups(schema, direction).map(
    ({ title, members }) => html`${title ? html`<p class="kind">${text(title)}</p>` : ''}${list(members, direction)}`,
  )}`
}

export function parameterMembers(parameters: readonly Parameter[]): Html | string {
  return list(parameters.map(parameterMember), 'request')
}

function list(members: readonly Member[], direction: Direction): Html | string {
  if (members.length === 0) return ''
  return html`<dl class="members">${members.map(
    ({ name, type, presence, description, nested }) => html`<div>
<dt><code>${name}</code> <span>${text(type)}</span> <small>${presence === 'required' ? html`<b>${presence}</b>` : presence}</small></dt>
<dd>${text(description)}${nested.flatMap((one) => memberGroups(one, direction).map((group) => list(group.members, direction)))}</dd>
</div>`,
  )}</dl>`
}
