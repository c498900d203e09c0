import { type JsonSchema, nameOf, type OpenApi, type Parameter } from './openapi.ts'

/**
 * How the page and its Markdown edition describe members. The texts have code between backticks, and links as in
 * Markdown.
 */

/**
 * Whether the reader of the page sends the object or receives it. Members of a request are required or optional.
 * Members of a response are always present or may be absent.
 */
export type Direction = 'request' | 'response'

const PRESENCE = { request: ['required', 'optional'], response: ['always present', 'may be absent'] } as const

export interface Member {
  readonly name: string
  readonly type: string
  readonly presence: (typeof PRESENCE)[Direction][number]
  readonly description: string
  /** The schemas of the objects in this member: its value, or the items of its value. */
  readonly nested: readonly JsonSchema[]
  readonly isArray: boolean
}

export interface MemberGroup {
  /** Describes the variants of the object that have these members. Empty if all variants have them. */
  readonly title: string
  readonly members: readonly Member[]
}

/** A schema without the members of another object that has its own section. `base` has the name of that object. */
export interface Shortened extends JsonSchema {
  readonly base?: string
}

const BASES = ['ClientSecret', 'Application']

/**
 * For every object, at any depth, that has all members of one of `BASES`: removes these members, and sets `base` to the
 * name from `BASES`.
 */
export function shortened(document: OpenApi, schema: JsonSchema, own = ''): Shortened {
  const inner = (one: JsonSchema) => shortened(document, one)
  const base = schema.properties && BASES.find((name) => name !== own && hasMembersOf(document, name, schema))
  const shared = Object.keys((base && document.components.schemas[base]?.properties) ?? {})
  return {
    ...schema,
    ...(base && { base }),
    ...(schema.properties && {
      properties: Object.fromEntries(
        Object.entries(schema.properties)
          .filter(([name]) => !shared.includes(name))
          .map(([name, member]) => [name, inner(member)]),
      ),
    }),
    ...(schema.items && { items: inner(schema.items) }),
    ...(schema.oneOf && { oneOf: schema.oneOf.map(inner) }),
    ...(schema.anyOf && { anyOf: schema.anyOf.map(inner) }),
  }
}

function hasMembersOf({ components }: OpenApi, name: string, { properties = {} }: JsonSchema): boolean {
  const base = Object.keys(components.schemas[name]?.properties ?? {})
  return base.length > 0 && base.every((member) => Object.hasOwn(properties, member))
}

/** The sentence about the members that `shortened` has removed. */
export function baseOf({ base, properties = {} }: Shortened): string {
  return base ? `The members of [${base}](#${base})${Object.keys(properties).length > 0 ? ', and:' : '.'}` : ''
}

/** The members of an object: first those that all of its variants share, then those of each variant. */
export function memberGroups(schema: JsonSchema, direction: Direction): MemberGroup[] {
  const [first, ...others] = schema.oneOf ?? []
  if (!first) return [{ title: '', members: membersOf(schema, direction) }]
  const variants = [first, ...others]
  const isCommon = (name: string) => others.every((other) => textOf(other, name) === textOf(first, name))
  /** True if this member tells the variants apart: it has a fixed value in at least two of them, and is not the same in all. */
  const tellsApart = (name: string) =>
    !isCommon(name) && variants.filter(({ properties }) => isFixed(properties?.[name])).length > 1
  const own = variants.map((variant) => ({
    fixed: fixedMembers(variant, tellsApart),
    members: membersOf(variant, direction, (name) => !isCommon(name) && !tellsApart(name)),
  }))
  const alike = Map.groupBy(own, ({ fixed: [only, ...others], members }) =>
    JSON.stringify([members, only?.name, others.length === 0 || [only, ...others]]),
  )
  return [
    { title: '', members: membersOf(first, direction, isCommon) },
    ...[...alike.values()].map((group) => ({
      title: `When ${conditionOf(group.map(({ fixed }) => fixed))}:`,
      members: group[0]?.members ?? [],
    })),
  ]
}

function textOf({ properties = {}, required = [] }: JsonSchema, name: string): string {
  return JSON.stringify([properties[name], required.includes(name)])
}

function membersOf(
  { properties = {}, required = [] }: JsonSchema,
  direction: Direction,
  isListed = (_: string) => true,
): Member[] {
  return Object.entries(properties)
    .filter(([name]) => isListed(name))
    .map(([name, schema]) => memberOf(name, schema, required.includes(name), direction))
}

export function parameterMember({ name, schema, description, required = false }: Parameter): Member {
  return memberOf(name, { ...schema, description }, required, 'request')
}

function memberOf(name: string, schema: JsonSchema, isRequired: boolean, direction: Direction): Member {
  const items = schema.items?.properties ? undefined : schema.items?.description
  return {
    name,
    type: `${typeOf(schema)}${isNullable(schema) ? ', nullable' : ''}`,
    presence: PRESENCE[direction][isRequired ? 0 : 1],
    description: [
      schema.description,
      items && `Each item: ${items}`,
      ...limits(schema),
      baseOf(schema),
      baseOf(schema.items ?? {}),
    ]
      .filter(Boolean)
      .join(' '),
    nested: [schema, schema.items, ...(schema.anyOf ?? [])].filter((one) => one?.properties) as JsonSchema[],
    isArray: schema.items !== undefined,
  }
}

interface FixedMember {
  readonly name: string
  readonly values: readonly unknown[]
}

/** The members whose fixed values distinguish this variant of a union from the others, with these values. */
function fixedMembers({ properties = {} }: JsonSchema, tellsApart: (name: string) => boolean): FixedMember[] {
  return Object.entries(properties)
    .filter(([name]) => tellsApart(name))
    .map(([name, { enum: values, const: value }]) => ({ name, values: values ?? [value] }))
}

/** The condition, in words, under which one of these variants applies. They differ only in the values of one member. */
function conditionOf(variants: readonly (readonly FixedMember[])[]): string {
  const valuesAt = (i: number) => variants.flatMap((fixed) => fixed[i]?.values ?? [])
  const codes = (values: unknown[]) => values.map((one) => `\`${JSON.stringify(one)}\``).join(' or ')
  return (variants[0] ?? []).map(({ name }, i) => `\`${name}\` is ${codes(valuesAt(i))}`).join(' and ')
}

function isFixed(schema: JsonSchema | undefined): boolean {
  return schema?.const !== undefined || schema?.enum !== undefined
}

function isNullable({ type, anyOf }: JsonSchema): boolean {
  return (Array.isArray(type) && type.includes('null')) || (anyOf ?? []).some((one) => one.type === 'null')
}

/** The type of a value, without null. `isNullable` tells whether it may be null. */
export function typeOf(schema: JsonSchema): string {
  if (schema.maxItems === 0) return 'empty array'
  if (schema.$ref) return `[${nameOf(schema)}](#${nameOf(schema)})`
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``
  if (schema.enum) return schema.enum.map((value) => `\`${value}\``).join(', ')
  const alternatives = (schema.anyOf ?? schema.oneOf)?.filter((one) => one.type !== 'null')
  if (alternatives) return alternatives.map(typeOf).join(' or ')
  const types = [schema.type ?? 'anything'].flat().filter((name) => name !== 'null')
  return types
    .map((name) => (name === 'array' && schema.items ? `array of ${typeOf(schema.items)}` : name))
    .join(' or ')
}

/** The rules that JSON Schema expresses, as sentences. The description has the other rules. */
function limits({ minimum, maximum, maxLength, maxItems, ...schema }: JsonSchema): string[] {
  return [
    ...(minimum !== undefined && maximum !== undefined ? [`From ${minimum} to ${maximum}.`] : []),
    ...(maxLength === undefined ? [] : [`At most ${maxLength} characters.`]),
    ...(!maxItems ? [] : [`At most ${maxItems}.`]),
    ...(schema.default === undefined ? [] : [`Default: ${schema.default}.`]),
  ]
}

/**
 * The objects that have their own section: the main objects, the errors, and the objects that other schemas contain.
 */
export function objectNames({ components }: OpenApi): string[] {
  const { schemas } = components
  const contained = [...JSON.stringify(schemas).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name)
  const named = ['Application', 'ClientSecret', 'Event', 'ErrorBody', 'OAuthError', ...contained]
  return Object.keys(schemas).filter((name) => named.includes(name))
}
