import * as v from 'valibot'
import { Application, Scopes } from './applications.ts'
import { AllowedIps, IpAddress, SecretName, Time, Timestamp } from './fields.ts'
import { rule } from './rules.ts'

/**
 * Schemas of client secrets in requests and responses, with WorkOS's field names. Unknown members of a request are
 * ignored.
 */

/** The scopes of a secret. An empty list is refused, because it could mean all scopes or none. */
const SecretScopes = v.pipe(Scopes, v.minLength(1, rule('no_scope')))

/**
 * This schema accepts an `expires_at` in the past, which storage refuses. A retry must get the original response, even
 * if `expires_at` has passed since.
 */
export const CreateClientSecret = v.object({
  name: v.nullish(SecretName),
  expires_at: v.nullish(Time),
  scopes: v.nullish(SecretScopes),
  allowed_ips: v.nullish(AllowedIps),
})

/** Absent members stay unchanged. Null clears the stored value. */
export const UpdateClientSecret = v.object({
  name: v.nullish(SecretName),
  expires_at: v.nullish(
    v.pipe(
      Time,
      v.check((time) => time > Date.now(), rule('past')),
    ),
  ),
  disabled: v.optional(v.boolean()),
  scopes: v.nullish(SecretScopes),
  allowed_ips: v.nullish(AllowedIps),
})

export const RotateClientSecrets = v.object({
  /** How long the replaced secrets keep working: at most 30 days. */
  grace_period_seconds: v.nullish(
    v.pipe(
      v.number(),
      v.integer(rule('grace_period_out_of_range')),
      v.minValue(0, rule('grace_period_out_of_range')),
      v.maxValue(2_592_000, rule('grace_period_out_of_range')),
    ),
    86_400,
  ),
})

export const FindClientSecrets = v.object({
  hint: v.pipe(v.string(rule('hint_required')), v.regex(/^[0-9A-Za-z]{6}$/, rule('malformed_hint'))),
})

export const VerifyClientSecret = v.object({
  client_secret: v.string(),
  /**
   * The client ID that the secret must belong to. If it is null or absent, the secret of any client of the environment
   * is valid.
   */
  client_id: v.nullish(v.string()),
  /** The IP address of the client. If it is null or absent, the caller's IP address is used. */
  ip_address: v.nullish(IpAddress),
})

const clientSecret = {
  object: v.literal('connect_application_secret'),
  id: v.string(),
  secret_hint: v.string(),
  last_used_at: v.nullable(Timestamp),
  created_at: Timestamp,
  updated_at: Timestamp,
  name: v.optional(v.string()),
  expires_at: v.optional(Timestamp),
  disabled: v.optional(v.literal(true)),
  scopes: v.optional(v.array(v.string())),
  allowed_ips: v.optional(v.array(v.string())),
}

/** A secret without its plaintext. */
export const ClientSecret = v.strictObject(clientSecret)

/** A new secret. This is the only response with the plaintext. */
export const IssuedClientSecret = v.strictObject({ ...clientSecret, secret: v.string() })

export const ClientSecretList = v.array(ClientSecret)

/** The result of a search by hint. It has the application ID, because the caller may not know the application. */
export const FoundClientSecrets = v.array(v.strictObject({ ...clientSecret, application_id: v.string() }))

export const Verification = v.variant('valid', [
  v.strictObject({ valid: v.literal(true), client_secret: ClientSecret, application: Application }),
  v.strictObject({ valid: v.literal(false) }),
])
