import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import * as v from 'valibot'
import { describeIssue } from '../contract/rules.ts'
import { readJson } from './body.ts'
import { refuse } from './caller.ts'
import type { HonoEnv } from './context.ts'
import { ApiError } from './errors.ts'

/** How many of the things that are wrong are told at once. */
const MOST_ERRORS = 20

type Schema = v.GenericSchema

/** Reads and validates a JSON body. The canonical form of what was sent is kept for `keyedRequest`. */
export const validJson = <S extends Schema>(schema: S) =>
  createMiddleware<HonoEnv, string, { in: { json: v.InferInput<S> }; out: { json: v.InferOutput<S> } }>(
    async (c, next) => {
      const body = await readJson(c.req.raw)
      if (typeof body === 'string') return refuse(c, new ApiError(body))
      // To Valibot an array is an object too.
      const value = Array.isArray(body.value) ? null : body.value
      c.req.addValidatedData('json', (await validate(c, schema, value)) as object)
      c.set('canonicalBody', body.canonical)
      await next()
    },
  )

/** Validates the query. A parameter that is repeated reaches the schema as an array. */
export const validQuery = <S extends Schema>(schema: S) =>
  createMiddleware<HonoEnv, string, { in: { query: v.InferInput<S> }; out: { query: v.InferOutput<S> } }>(
    async (c, next) => {
      const parameters = Object.entries(c.req.queries()).map(([name, values]) => [
        name,
        values.length === 1 ? values[0] : values,
      ])
      c.req.addValidatedData('query', (await validate(c, schema, Object.fromEntries(parameters))) as object)
      await next()
    },
  )

async function validate<S extends Schema>(c: Context<HonoEnv>, schema: S, value: unknown): Promise<v.InferOutput<S>> {
  const result = v.safeParse(schema, value, { abortPipeEarly: true })
  if (result.success) return result.output
  const errors = result.issues.slice(0, MOST_ERRORS).map(describeIssue)
  return refuse(c, new ApiError('invalid_request_parameters', { errors }))
}
