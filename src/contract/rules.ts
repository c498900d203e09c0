import * as v from 'valibot'

/**
 * The rules for parameters. Each rule has the last part of its error code, and the sentence for the error message. A
 * schema passes the name of a rule to Valibot in place of a message. Validation, the OpenAPI document and the
 * dashboard's forms all take the sentence from here.
 */
const RULES = {
  name_too_long: ['too_long', 'must have at most 255 characters.'],
  secret_name_too_long: ['too_long', 'must have at most 100 characters.'],
  description_too_long: ['too_long', 'must have at most 1,000 characters.'],
  uri_too_long: ['too_long', 'must have at most 2,048 characters.'],
  blank: ['blank', 'must not be blank.'],
  control_character: ['control_character', 'must not contain control characters.'],
  invisible_character: ['invisible_character', 'must not contain invisible or text-direction characters.'],
  contains_credential: ['contains_credential', 'must not contain a client secret, an API key or another credential.'],
  malformed_unicode: ['malformed', 'must be well-formed Unicode, without lone surrogates.'],
  malformed_scope: ['malformed', 'must be visible ASCII without spaces, quotes or backslashes (RFC 6749 §3.3).'],
  too_many_scopes: ['too_many', 'must have at most 100 scopes.'],
  no_scope: ['empty', 'must have at least one scope. Leave it out, or use null, for all scopes of the application.'],
  unknown_scope: ['unknown', 'must have only scopes of the application.'],
  repeated_scope: ['repeated', 'must not repeat a scope.'],
  malformed_ip_address: ['malformed', 'must be an IPv4 or IPv6 address, without a zone ID.'],
  malformed_ip_range: [
    'malformed',
    'must be an IPv4 or IPv6 address or CIDR range: 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32.',
  ],
  bits_after_prefix: ['bits_after_prefix', 'must be zero after the prefix: 203.0.113.0/24, not 203.0.113.7/24.'],
  no_ip_range: ['empty', 'must have at least one IP range. Leave it out, or use null, to allow every address.'],
  too_many_ip_ranges: ['too_many', 'must have at most 50 IP ranges.'],
  malformed_organization_id: [
    'malformed',
    'must be an organization ID: org_ and 1 to 64 letters, digits or underscores.',
  ],
  malformed_redirect_uri: [
    'malformed',
    'must be absolute: https, http on loopback, or a private-use scheme with a dot; without a fragment, user name, wildcard host or dot segments.',
  ],
  too_many_redirect_uris: ['too_many', 'must have at most 20 redirect URIs.'],
  several_defaults: ['several_defaults', 'must not mark more than one URI as the default.'],
  redirect_uris_not_allowed: ['not_allowed', 'must be left out: only oauth applications have redirect URIs.'],
  malformed_time: ['malformed', 'must be an RFC 3339 timestamp with seconds and a time zone: 2027-01-31T12:00:00Z.'],
  malformed_source: ['malformed', 'must be an http or https URL in ASCII of at most 1,000 characters.'],
  past: ['past', 'must be in the future.'],
  too_late: ['too_late', 'must be within the longest lifetime of secrets in this environment.'],
  grace_period_out_of_range: ['out_of_range', 'must be a whole number from 0 to 2592000.'],
  hint_required: ['required', 'is required exactly once: the last six characters of a secret.'],
  malformed_hint: ['malformed', 'must be exactly the last six characters of a secret.'],
  malformed_ending: ['malformed', 'must be the last 4 to 12 characters of a secret.'],
  unknown_state: ['invalid', 'must be active, expiring, disabled, expired or revoked.'],
  policy_days_out_of_range: ['out_of_range', 'must be a whole number from 1 to 3650, or null.'],
  days_out_of_range: ['out_of_range', 'must be a whole number from 1 to 9999.'],
  not_boolean: ['invalid', 'must be true or false.'],
  repeated_parameter: ['repeated', 'must not be repeated.'],
  limit_out_of_range: ['out_of_range', 'must be a whole number from 1 to 100.'],
  unknown_order: ['invalid', 'must be asc, desc or normal.'],
  unknown_registration_type: ['invalid', 'must be authenticated, dynamic or both.'],
  before_with_after: ['with_after', 'cannot be combined with after.'],
  unknown_cursor: ['unknown', 'must be the ID of an object in this list. Start again without it.'],
} as const satisfies Readonly<Record<string, readonly [code: string, sentence: string]>>

export type Rule = keyof typeof RULES

/** Returns its argument. Schemas call it so that the compiler checks the name of the rule. */
export function rule(name: Rule): Rule {
  return name
}

/** Returns the text of a schema's rule, such as `must not be blank.`; undefined for Valibot's own messages. */
export function sentenceOf(message: unknown): string | undefined {
  return isRule(message) ? RULES[message][1] : undefined
}

/** One entry of `errors` in a 422. It does not repeat the input, which may contain a credential. */
export interface InvalidParameter {
  readonly field: string
  readonly code: string
  readonly message: string
}

export function invalidParameter(field: string, name: Rule): InvalidParameter {
  return worded(field, RULES[name])
}

/** Converts an issue of Valibot. Valibot's own messages are replaced, because they repeat the input. */
export function describeIssue(issue: v.BaseIssue<unknown>): InvalidParameter {
  return worded(v.getDotPath(issue) ?? '', isRule(issue.message) ? RULES[issue.message] : ruleOfType(issue))
}

function isRule(message: unknown): message is Rule {
  return typeof message === 'string' && Object.hasOwn(RULES, message)
}

/** Names for the types in Valibot's issues. Literal types are shown unchanged. */
const TYPES = new Map([
  ['string', 'a string'],
  ['number', 'a number'],
  ['boolean', 'true or false'],
  ['Array', 'an array'],
  ['Object', 'an object'],
])

function ruleOfType({ received, expected }: v.BaseIssue<unknown>): readonly [string, string] {
  if (received === 'undefined') return ['required', 'is required.']
  if (!expected) return ['invalid', 'is not valid.']
  const literals = expected.replace(/^\((.*)\)$/, '$1').replaceAll(' | ', ' or ')
  return ['invalid', `must be ${TYPES.get(expected) ?? literals}.`]
}

/** Completes a rule with the name of the field. The code omits array indexes: `redirect_uris_uri_malformed`. */
function worded(field: string, [code, sentence]: readonly [string, string]): InvalidParameter {
  const name = field
    .split('.')
    .filter((part) => !/^\d+$/.test(part))
    .join('_')
  return { field, code: name ? `${name}_${code}` : code, message: `${field || 'The body'} ${sentence}` }
}

/** The state of a region in the response of /readyz. */
export const RegionState = v.strictObject({
  region: v.string(),
  binding: v.string(),
  status: v.picklist(['ok', 'unavailable']),
  message: v.optional(v.string()),
})

/** The body of an error response of the management API. */
export const ErrorBody = v.strictObject({
  message: v.string(),
  code: v.string(),
  entity_id: v.optional(v.string()),
  errors: v.optional(v.array(v.strictObject({ field: v.string(), code: v.string(), message: v.string() }))),
  regions: v.optional(v.array(RegionState)),
})
