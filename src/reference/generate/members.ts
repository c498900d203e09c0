import { html } from 'hono/html'
import type { JsonSchema, Parameter } from './openapi.ts'
import { nameOf } from './resolved.ts'

export type Html = ReturnType<typeof html>

/** Backticks set code. */
export function text(words: string): (Html | string)[] {
  return words.split('`').map((part, i) => (i % 2 ? html`<code>${part}</code>` : part))
}

/** What a JSON object may have in it: what is alike in all of its kinds, then what each has besides. */
export function members(schema: JsonSchema): Html {
  const [first, ...others] = schema.oneOf ?? []
  if (!first) return html`${list(schema)}`
  const isCommon = (name: string) => others.every((other) => memberText(other, name) === memberText(first, name))
  return html`${list(first, isCommon)}${[first, ...others].map(
    (kind) =>
      html`<p class="kind">${kindOf(kind)}</p>${list(kind, (name) => !isCommon(name) && !isFixed(kind.properties?.[name]))}`,
  )}`
}

function memberText({ properties = {}, required = [] }: JsonSchema, name: string): string {
  return JSON.stringify([properties[name], required.includes(name)])
}

export function parameterMembers(parameters: readonly Parameter[]): Html {
  return html`<dl class="members">${parameters.map(({ name, schema, description, required }) =>
    member(name, { ...schema, description }, required === true),
  )}</dl>`
}

function list({ properties = {}, required = [] }: JsonSchema, isListed = (_: string) => true): Html | string {
  const listed = Object.entries(properties).filter(([name]) => isListed(name))
  if (listed.length === 0) return ''
  return html`<dl class="members">${listed.map(([name, schema]) => member(name, schema, required.includes(name)))}</dl>`
}

function member(name: string, schema: JsonSchema, isRequired: boolean): Html {
  const items = schema.items?.properties ? undefined : schema.items?.description
  const description = [schema.description, items && `Each item: ${items}`].filter(Boolean).join(' ')
  const nested = [schema, schema.items, ...(schema.anyOf ?? [])].filter((one) => one?.properties)
  return html`<div>
<dt><code>${name}</code> <span>${type(schema)}${isRequired ? html` <b>required</b>` : ''}</span></dt>
<dd>${text(description)}${limits(schema)}${nested.map((one) => one && list(one))}</dd>
</div>`
}

/** By what is fixed in it. */
function kindOf({ properties = {} }: JsonSchema): Html {
  const fixed = Object.entries(properties).filter(([name, schema]) => isFixed(schema) && name !== 'object')
  return html`${fixed.map(([name, schema]) => {
    const values = schema.enum ?? [schema.const]
    return html`<code>${name}: ${values.join(', ')}</code> `
  })}`
}

function isFixed(schema: JsonSchema | undefined): boolean {
  return schema?.const !== undefined || schema?.enum !== undefined
}

function type(schema: JsonSchema): Html {
  if (schema.$ref) return html`<a href="#${nameOf(schema)}">${nameOf(schema)}</a>`
  if (schema.const !== undefined) return html`<code>${JSON.stringify(schema.const)}</code>`
  if (schema.enum) return html`${schema.enum.map((value, i) => html`${i ? ', ' : ''}<code>${value}</code>`)}`
  const alternatives = schema.anyOf ?? schema.oneOf
  if (alternatives) return html`${alternatives.map((one, i) => html`${i ? ' or ' : ''}${type(one)}`)}`
  const types = [schema.type ?? 'anything'].flat()
  return html`${types.map((name, i) => {
    const or = i ? ' or ' : ''
    return name === 'array' && schema.items ? html`${or}array of ${type(schema.items)}` : html`${or}${name}`
  })}`
}

/** The rules that the schema itself says. Those that it cannot say are in the description. */
function limits({ minimum, maximum, maxLength, maxItems, ...schema }: JsonSchema): string {
  return [
    ...(minimum !== undefined && maximum !== undefined ? [`From ${minimum} to ${maximum}.`] : []),
    ...(maxLength === undefined ? [] : [`At most ${maxLength} characters.`]),
    ...(!maxItems ? [] : [`At most ${maxItems}.`]),
    ...(schema.default === undefined ? [] : [`Default: ${schema.default}.`]),
  ]
    .map((sentence) => ` ${sentence}`)
    .join('')
}
