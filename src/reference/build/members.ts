import { html } from 'hono/html'
import type { JsonSchema, Parameter } from '../openapi.ts'
import { nameOf } from './resolved.ts'

export type Html = ReturnType<typeof html>

/** Backticks set code. */
export function text(words: string): (Html | string)[] {
  return words.split('`').map((part, i) => (i % 2 ? html`<code>${part}</code>` : part))
}

/** What a JSON object may have in it: one list, or one for each of its kinds. */
export function members(schema: JsonSchema): Html {
  if (!schema.oneOf) return list(schema)
  return html`${schema.oneOf.map((kind) => html`<p class="kind">${kindOf(kind)}</p>${list(kind)}`)}`
}

export function parameterMembers(parameters: readonly Parameter[]): Html {
  return html`<dl class="members">${parameters.map(({ name, schema, description, required }) =>
    member(name, { ...schema, description }, required === true),
  )}</dl>`
}

function list({ properties = {}, required = [] }: JsonSchema): Html {
  return html`<dl class="members">${Object.entries(properties).map(([name, schema]) =>
    member(name, schema, required.includes(name)),
  )}</dl>`
}

function member(name: string, schema: JsonSchema, isRequired: boolean): Html {
  const nested = schema.items?.properties ? schema.items : schema
  return html`<div>
<dt><code>${name}</code> <span>${type(schema)}${isRequired ? html` <b>required</b>` : ''}</span></dt>
<dd>${text(schema.description ?? '')}${limits(schema)}${nested.properties ? list(nested) : ''}</dd>
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

function isFixed(schema: JsonSchema): boolean {
  return schema.const !== undefined || schema.enum !== undefined
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
    ...(maxItems === undefined ? [] : [maxItems === 0 ? 'Empty.' : `At most ${maxItems}.`]),
    ...(schema.default === undefined ? [] : [`Default: ${schema.default}.`]),
  ]
    .map((sentence) => ` ${sentence}`)
    .join('')
}
