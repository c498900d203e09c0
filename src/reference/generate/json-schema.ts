import { toJsonSchemaDefs } from '@valibot/to-json-schema'
import type * as v from 'valibot'
import { sentenceOf } from '../../contract/rules.ts'
import { words } from './member-descriptions.ts'
import type { JsonSchema } from './openapi.ts'

/** Rules that JSON Schema cannot express clearly. Their messages become part of the description. */
const WORDED = new Set(['check', 'partial_check', 'regex', 'iso_timestamp'])

/**
 * Converts the validation schemas of the Worker into JSON Schemas, by name, and describes every member. Throws if a
 * schema cannot be converted, or if a member has no description.
 */
export function jsonSchemas(schemas: Readonly<Record<string, v.GenericSchema>>): Record<string, JsonSchema> {
  const definitions = toJsonSchemaDefs(schemas, {
    target: 'draft-2020-12',
    typeMode: 'ignore',
    overrideRef: ({ referenceId }) => `#/components/schemas/${referenceId}`,
    // `forward` only chooses the member at which an error of the whole query is reported.
    ignoreActions: ['transform', 'forward'],
    overrideAction: ({ valibotAction, jsonSchema }) => {
      const isEmpty = valibotAction.type === 'max_length' && jsonSchema.maxItems === 0
      if (!isEmpty && !WORDED.has(valibotAction.type)) return undefined
      const description = sentence(jsonSchema.description, valibotAction)
      return { ...jsonSchema, ...(description && { description }) }
    },
  })
  return Object.fromEntries(
    Object.entries(definitions).map(([name, schema]) => [name, explained(name, simplified(schema as JsonSchema))]),
  )
}

/** Appends the rule's message to the description, as a sentence. */
function sentence(before: string | undefined, action: object): string | undefined {
  const words = 'message' in action ? sentenceOf(action.message) : undefined
  const sentences = [before, words && words.charAt(0).toUpperCase() + words.slice(1)].filter(Boolean)
  return [...new Set(sentences)].join(' ') || undefined
}

/**
 * Simplifies a schema: a nullable type becomes `[type, 'null']`, nested `oneOf` lists become one, and an empty
 * `required` is omitted.
 */
function simplified({ anyOf, oneOf, properties, items, required, ...rest }: JsonSchema): JsonSchema {
  const [first, second, ...more] = (anyOf ?? []).map(simplified)
  if (first && second?.type === 'null' && more.length === 0) {
    if (first.not) return { ...rest, type: 'null', ...described(first) }
    if (typeof first.type === 'string') return { ...first, ...rest, type: [first.type, 'null'] }
  }
  return {
    ...rest,
    ...(anyOf && { anyOf: anyOf.map(simplified) }),
    ...(oneOf && { oneOf: oneOf.map(simplified).flatMap((schema) => schema.oneOf ?? [schema]) }),
    ...(items && { items: simplified(items) }),
    ...(properties && { properties: mapped(properties, simplified) }),
    ...(required?.length && { required }),
  }
}

/** Adds to each member of a schema the description for its path. */
function explained(path: string, schema: JsonSchema): JsonSchema {
  return {
    ...schema,
    ...(schema.anyOf && { anyOf: schema.anyOf.map((one) => explained(path, one)) }),
    ...(schema.oneOf && { oneOf: schema.oneOf.map((one) => explained(path, one)) }),
    ...(schema.items && { items: explained(path, schema.items) }),
    ...(schema.properties && {
      properties: mapped(schema.properties, (property, name) => {
        const meaning = words(`${path}.${name}`)
        const description = [meaning, property.description].filter(Boolean).join(' ')
        return explained(`${path}.${name}`, { ...property, ...(description && { description }) })
      }),
    }),
  }
}

function described({ description }: JsonSchema): { description?: string } {
  return description === undefined ? {} : { description }
}

function mapped<T, U>(record: Readonly<Record<string, T>>, change: (value: T, name: string) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value, name)]))
}
