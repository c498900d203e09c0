import * as v from 'valibot'
import { describeIssue } from '../../src/contract/rules.ts'

/** The errors of a body under a schema, as the response of a route with that schema has them. */
export function schemaErrors(schema: v.GenericSchema, body: object) {
  const { issues = [] } = v.safeParse(schema, body, { abortPipeEarly: true })
  return issues.map(describeIssue)
}
