import { html } from 'hono/html'
import { type JsonSchema, nameOf, type Parameter } from './openapi.ts'

export type Html = ReturnType<typeof html>

/** Turns text between backticks into code. */
export function text(words: string): (Html | string)[] {
  return words.split('`').map((part, i) => (i % 2 ? html`<code>${part}</code>` : part))
}

/** Whether the reader sends the object or receives it: members are required or optional, or always present or not. */
export type Direction = 'request' | 'response'

const PRESENCE: Readonly<Record<Direction, readonly [always: Html | string, not: string]>> = {
  request: [html`<b>required</b>`, 'optional'],
  response: ['always present', 'may be absent'],
}

/** The members of an object: first those that all of its variants share, then those of each variant. */
export function members(schema: JsonSchema, direction: Direction): Html {
  const [first, ...others] = schema.oneOf ?? []
  if (!first) return html`${list(schema, direction)}`
  const isCommon = (name: string) => others.every((other) => memberText(other, name) === memberText(first, name))
  return html`${list(first, direction, isCommon)}${[first, ...others].map(
    (variant) =>
      html`<p class="kind">${fixedMembers(variant)}</p>${list(variant, direction, (name) => !isCommon(name) && !isFixed(variant.properties?.[name]))}`,
  )}`
}

function memberText({ properties = {}, required = [] }: JsonSchema, name: string): string {
  return JSON.stringify([properties[name], required.includes(name)])
}

export function parameterMembers(parameters: readonly Parameter[]): Html {
  return html`<dl class="members">${parameters.map(({ name, schema, description, required = false }) =>
    member(name, { ...schema, description }, required, 'request'),
  )}</dl>`
}

function list(
  { properties = {}, required = [] }: JsonSchema,
  direction: Direction,
  isListed = (_: string) => true,
): Html | string {
  const listed = Object.entries(properties).filter(([name]) => isListed(name))
  if (listed.length === 0) return ''
  return html`<dl class="members">${listed.map(([name, schema]) => member(name, schema, required.includes(name), direction))}</dl>`
}

function member(name: string, schema: JsonSchema, isRequired: boolean, direction: Direction): Html {
  const items = schema.items?.properties ? undefined : schema.items?.description
  const description = [schema.description, items && `Each item: ${items}`].filter(Boolean).join(' ')
  const nested = [schema, schema.items, ...(schema.anyOf ?? [])].filter((one) => one?.properties)
  return html`<div>
<dt><code>${name}</code> <span>${type(schema)}${isNullable(schema) ? ', nullable' : ''}</span> <small>${PRESENCE[direction][isRequired ? 0 : 1]}</small></dt>
<dd>${text(description)}${limits(schema)}${nested.map((one) => one && list(one, direction))}</dd>
</div>`
}

/** The heading of a variant: its members with a fixed value. */
function fixedMembers({ properties = {} }: JsonSchema): Html {
  const fixed = Object.entries(properties).filter(([name, schema]) => isFixed(schema) && name !== 'object')
  return html`${fixed.map(([name, schema]) => {
    const values = schema.enum ?? [schema.const]
    return html`<code>${name}: ${values.join(', ')}</code> `
  })}`
}

function isFixed(schema: JsonSchema | undefined): boolean {
  return schema?.const !== undefined || schema?.enum !== undefined
}

function isNullable({ type, anyOf }: JsonSchema): boolean {
  return (Array.isArray(type) && type.includes('null')) || (anyOf ?? []).some((one) => one.type === 'null')
}

/** The type without null: `isNullable` says that. */
function type(schema: JsonSchema): Html {
  if (schema.maxItems === 0) return html`empty array`
  if (schema.$ref) return html`<a href="#${nameOf(schema)}">${nameOf(schema)}</a>`
  if (schema.const !== undefined) return html`<code>${JSON.stringify(schema.const)}</code>`
  if (schema.enum) return html`${schema.enum.map((value, i) => html`${i ? ', ' : ''}<code>${value}</code>`)}`
  const alternatives = (schema.anyOf ?? schema.oneOf)?.filter((one) => one.type !== 'null')
  if (alternatives) return html`${alternatives.map((one, i) => html`${i ? ' or ' : ''}${type(one)}`)}`
  const types = [schema.type ?? 'anything'].flat().filter((name) => name !== 'null')
  return html`${types.map((name, i) => {
    const or = i ? ' or ' : ''
    return name === 'array' && schema.items ? html`${or}array of ${type(schema.items)}` : html`${or}${name}`
  })}`
}

/** The rules that JSON Schema expresses. The description has the others. */
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
