import { dereference, validate } from '@cfworker/json-schema'

const DRAFT = '2020-12'

/** Compares values with the schemas of one OpenAPI document. Its components are resolved once, which takes the longest. */
export function jsonSchemas(components: object) {
  const lookup = dereference(JSON.parse(JSON.stringify({ components }), discriminatorsFirst))
  const known = new Set<object>()
  return (schema: object, value: unknown) => {
    if (!known.has(schema)) dereference(schema, lookup, undefined, `/known/${known.size}`)
    known.add(schema)
    // Every error is worth its time only where there is one.
    if (validate(value, schema, DRAFT, lookup).valid) return []
    return validate(value, schema, DRAFT, lookup, false).errors
  }
}

interface Schema {
  readonly const?: unknown
  readonly enum?: unknown
  readonly properties?: Readonly<Record<string, Schema>>
}

/** Compares first the properties that have fixed values: an event is then compared with the schema of its type alone. */
function discriminatorsFirst(_key: string, value: Schema | null): unknown {
  if (!value?.properties) return value
  const rank = (schema: Schema) => Number(schema.const === undefined && schema.enum === undefined)
  const properties = Object.entries(value.properties).sort(([, a], [, b]) => rank(a) - rank(b))
  return { ...value, properties: Object.fromEntries(properties) }
}
