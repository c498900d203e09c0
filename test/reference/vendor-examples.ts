/** A schema of the vendor's document, whose examples stand at its members. */
export interface VendorSchema {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly example?: unknown
  readonly const?: unknown
  readonly properties?: Readonly<Record<string, VendorSchema>>
  readonly items?: VendorSchema
  readonly oneOf?: readonly VendorSchema[]
  readonly allOf?: readonly VendorSchema[]
  readonly schemas?: Readonly<Record<string, VendorSchema>>
}

/** The examples of a schema, put together from those of its members: one for each of its kinds. */
export function exampleOf(schema: VendorSchema, components: VendorSchema): unknown[] {
  const inner = (one: VendorSchema) => exampleOf(one, components)
  if (schema.$ref) return inner(components.schemas?.[schema.$ref.split('/').at(-1) ?? ''] ?? {})
  if ('example' in schema) return [schema.example]
  if ('const' in schema) return [schema.const]
  if (schema.oneOf) return schema.oneOf.flatMap(inner)
  if (schema.allOf) {
    return schema.allOf.reduce<unknown[]>(
      (made, part) => made.flatMap((one) => inner(part).map((other) => ({ ...(one as object), ...(other as object) }))),
      [{}],
    )
  }
  if (schema.items) return inner(schema.items).map((item) => [item])
  if (schema.properties) {
    return Object.entries(schema.properties).reduce<unknown[]>(
      (made, [name, property]) =>
        made.flatMap((one) => inner(property).map((value) => ({ ...(one as object), [name]: value }))),
      [{}],
    )
  }
  if (schema.type === 'object') return [{}]
  throw new Error(`the vendor's document has no example of ${JSON.stringify(schema)}`)
}
