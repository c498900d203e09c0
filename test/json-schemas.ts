import { dereference, validate } from '@cfworker/json-schema'

const DRAFT = '2020-12'

/** Compares values with the schemas of one OpenAPI document. Its components are resolved once, which takes the longest. */
export function jsonSchemas(components: object) {
  const lookup = dereference({ components } as object)
  const known = new Set<object>()
  return (schema: object, value: unknown) => {
    if (!known.has(schema)) dereference(schema, lookup, undefined, `/known/${known.size}`)
    known.add(schema)
    return validate(value, schema, DRAFT, lookup, false).errors
  }
}
