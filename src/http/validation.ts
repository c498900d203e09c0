import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { validator } from 'hono/validator'
import * as v from 'valibot'
import { describeIssue } from '../contract/rules.ts'
import { idempotencyDigest, newSalt, requestDigest } from '../credential/derivation.ts'
import type { KeyedRequest } from '../storage/idempotency.ts'
import { canonicalJson, readJson } from './body.ts'
import { refuse } from './caller.ts'
import type { HonoEnv } from './context.ts'
import { ApiError } from './errors.ts'
import { readSettings } from './settings.ts'

/** Maximum number of validation errors in one response. */
const MAX_ERRORS = 20

/**
 * The longest array that a schema allows. Longer arrays are truncated before validation, to bound the work for a caller
 * that is not yet identified.
 */
const MAX_ITEMS = 100

type Schema = v.GenericSchema

/** Reads and validates a JSON body. The parsed body is stored in the context, for `keyedRequest`. */
export const validJson = <S extends Schema>(schema: S) =>
  createMiddleware<HonoEnv, string, { in: { json: v.InferInput<S> }; out: { json: v.InferOutput<S> } }>(
    async (c, next) => {
      const body = await readJson(c.req.raw)
      if (typeof body === 'string') return refuse(c, new ApiError(body))
      c.set('body', body.value)
      c.req.addValidatedData('json', (await validate(c, schema, bounded(body.value))) as object)
      await next()
    },
  )

export const validQuery = <S extends Schema>(schema: S) =>
  validator('query', (_, c: Context<HonoEnv>) => validate(c, schema, readQuery(c.req.queries())))

/**
 * Truncates long arrays. If the body itself is an array, returns null, because Valibot would accept an array as an
 * object.
 */
function bounded(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return null
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      Array.isArray(member) ? member.slice(0, MAX_ITEMS + 1) : member,
    ]),
  )
}

/**
 * Matches `list[]`, `list[0]`, and the format in which PHP sends an enum:
 * `list[0][name]=Dynamic&list[0][value]=dynamic`.
 */
const PARAMETER = /^([^[\]]+)(?:\[\d*\])?(?:\[(name|value)\])?$/

/** Reads query parameters in all notations that the SDKs use. Repeated parameters become an array. */
function readQuery(queries: Record<string, string[]>): Record<string, string | string[]> {
  const parameters = new Map<string, string[]>()
  for (const [parameter, values] of Object.entries(queries)) {
    const [, name = parameter, part] = PARAMETER.exec(parameter) ?? []
    if (part !== 'name') parameters.set(name, [...(parameters.get(name) ?? []), ...values])
  }
  return Object.fromEntries(
    [...parameters].map(([name, values]) => [name, values.length === 1 ? values[0] : values]),
  ) as Record<string, string | string[]>
}

async function validate<S extends Schema>(c: Context<HonoEnv>, schema: S, value: unknown): Promise<v.InferOutput<S>> {
  const result = v.safeParse(schema, value, { abortPipeEarly: true })
  if (result.success) return result.output
  const errors = result.issues.slice(0, MAX_ERRORS).map(describeIssue)
  return refuse(c, new ApiError('invalid_request_parameters', { errors }))
}

const VISIBLE_ASCII = /^[\x21-\x7e]{1,255}$/

/**
 * Matches the Idempotency-Key of the Kotlin SDK, which is a hash of the request. Two requests to create a secret for
 * the same application have the same hash, so a second secret could not be created. Such a key is ignored.
 */
const HASH_OF_REQUEST = /^retry-[0-9a-f]{64}$/

/** Returns the data that identifies a POST by its Idempotency-Key; null without such a key. */
export async function keyedRequest(c: Context<HonoEnv>): Promise<KeyedRequest | null> {
  const key = c.req.header('Idempotency-Key')
  if (key === undefined || HASH_OF_REQUEST.test(key)) return null
  if (!VISIBLE_ASCII.test(key)) return refuse(c, new ApiError('invalid_idempotency_key'))
  return {
    digest: await idempotencyDigest(c.get('caller').digest, key),
    requestDigest: await requestDigest(c.req.method, c.req.path, canonicalJson(c.get('body'))),
    salt: newSalt(),
    prefix: readSettings(c.env).CLIENT_SECRET_PREFIX,
  }
}
