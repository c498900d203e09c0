import * as v from 'valibot'
import { ClientSecret, FindClientSecrets, FoundClientSecrets } from './client-secrets.ts'
import {
  hasOneCursor,
  Limit,
  ListMetadata,
  listParameter,
  Order,
  OrganizationId,
  once,
  Query,
  Timestamp,
} from './fields.ts'
import { rule } from './rules.ts'

/** Schemas of the list of all client secrets of an environment. */

const SecretState = v.picklist(['active', 'expiring', 'disabled', 'expired', 'revoked'], rule('unknown_state'))

const Days = v.pipe(once, v.regex(/^[1-9]\d{0,3}$/, rule('days_out_of_range')), v.transform(Number))

/** The last 4 to 12 characters of a secret. Only the last six are compared, because D1 stores no more. */
const Hint = v.pipe(once, v.regex(/^[0-9A-Za-z]{4,12}$/, rule('malformed_ending')))

const ListQuery = v.object({
  limit: Limit,
  order: v.optional(Order, 'desc'),
  before: v.optional(once),
  after: v.optional(once),
  state: v.array(SecretState),
  unused_for_days: v.optional(Days),
  never_expires: v.optional(v.picklist(['true', 'false'], rule('not_boolean'))),
  expires_within_days: v.optional(Days),
  application_id: v.optional(once),
  organization_id: v.optional(OrganizationId),
  created_by: v.optional(once),
  hint: v.optional(Hint),
  leak_reported: v.optional(v.picklist(['true', 'false'], rule('not_boolean'))),
})

export const ListClientSecrets = v.pipe(
  Query,
  v.transform((query) => ({ ...query, state: listParameter(query, 'state') ?? [] })),
  ListQuery,
  v.forward(
    v.check((query) => hasOneCursor(query), rule('before_with_after')),
    ['before'],
  ),
)

/** Selects the schema of a query. A query with only `hint` is the older search, whose response is an array. */
export const SecretQuery = v.lazy((query: unknown) =>
  Object.keys(query as object).join() === 'hint' ? FindClientSecrets : ListClientSecrets,
)

const creator = v.strictObject({ id: v.string(), name: v.nullable(v.string()), person: v.optional(v.string()) })

/** A secret in the list, in any state. */
export const ListedClientSecret = v.strictObject({
  ...ClientSecret.entries,
  state: SecretState,
  application_id: v.string(),
  application_name: v.string(),
  organization_id: v.nullable(v.string()),
  created_by: v.nullable(creator),
  last_used_from: v.nullable(
    v.strictObject({
      ip_prefix: v.nullable(v.string()),
      country: v.nullable(v.string()),
      user_agent: v.nullable(v.string()),
    }),
  ),
  revoked_at: v.optional(Timestamp),
  leak_reported_at: v.optional(Timestamp),
  leak_source: v.optional(v.nullable(v.string())),
})

export const ListedClientSecrets = v.strictObject({
  object: v.literal('list'),
  data: v.array(ListedClientSecret),
  list_metadata: v.strictObject({ ...ListMetadata.entries, is_complete: v.optional(v.literal(false)) }),
})

/** The response: a page of the list, or, if `hint` is the only parameter, the secrets that match it. */
export const ClientSecretsOfEnvironment = v.union([ListedClientSecrets, FoundClientSecrets])
