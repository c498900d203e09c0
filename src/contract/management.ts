import * as v from 'valibot'
import { listParameter } from './list-parameter.ts'
import { requirement } from './requirement.ts'

/**
 * The shapes of the management API, requests and responses, in WorkOS's words. Unknown keys of a request are ignored,
 * so that nobody can set what is not theirs to set, and a client that sends more than is read is not refused.
 */

const codePoints = (text: string) => [...text].length
const isWellFormed = (text: string) => text.isWellFormed()

/** `most` in characters. */
const nameUpTo = (most: number) =>
  v.pipe(
    v.string(),
    v.check((name) => codePoints(name) <= most, requirement('too_long', `must have at most ${most} characters.`)),
    v.check((name) => name.trim() !== '', requirement('blank', 'must not be blank.')),
    v.check((name) => !/\p{Cc}/u.test(name), requirement('control_character', 'must not have control characters.')),
    v.check(isWellFormed, requirement('malformed', 'must be well-formed Unicode, without lone surrogates.')),
  )

const Name = nameUpTo(255)

/** May have several lines; other control characters have no place in it. */
const Description = v.pipe(
  v.string(),
  v.check((text) => codePoints(text) <= 1000, requirement('too_long', 'must have at most 1,000 characters.')),
  v.check(
    (text) => !/[^\P{Cc}\t\n\r]/u.test(text),
    requirement('control_character', 'must not have control characters.'),
  ),
  v.check(isWellFormed, requirement('malformed', 'must be well-formed Unicode, without lone surrogates.')),
)

/** RFC 6749 §3.3: scope-token. */
const Scope = v.pipe(
  v.string(),
  v.regex(
    /^[\x21\x23-\x5b\x5d-\x7e]+$/,
    requirement('malformed', 'must be visible ASCII without space, " and \\ (RFC 6749 §3.3).'),
  ),
)

const Scopes = v.pipe(
  v.array(Scope),
  v.maxLength(100, requirement('too_many', 'must have at most 100 scopes.')),
  v.check((scopes) => new Set(scopes).size === scopes.length, requirement('repeated', 'must not name a scope twice.')),
)

/** Organizations are another system's objects: their form is checked, their existence is not. */
export const OrganizationId = v.pipe(
  v.string(),
  v.regex(
    /^org_[A-Za-z0-9_]{1,64}$/,
    requirement('malformed', 'must be an organization id: org_ and letters or digits.'),
  ),
)

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

/** RFC 6749 §3.1.2: absolute, without a fragment. In RFC 3986's characters alone: the URL parser forgives others. */
function isRedirectUri(uri: string): boolean {
  if (!/^[\w\-.~:/?@!$&'()*+,;=%[\]]+$/.test(uri)) return false
  const url = URL.parse(uri)
  if (!url) return false
  // The parser would also find a host in https:example.com.
  if (url.protocol === 'https:') return /^https:\/\/[^/]/i.test(uri)
  if (url.protocol === 'http:') return /^http:\/\/[^/]/i.test(uri) && LOOPBACK.has(url.hostname)
  // RFC 8252 §7.1: private-use schemes are reversed domain names.
  return url.protocol.includes('.')
}

const RedirectUri = v.object({
  uri: v.pipe(
    v.string(),
    v.maxLength(2048, requirement('too_long', 'must have at most 2,048 characters.')),
    v.check(
      isRedirectUri,
      requirement(
        'malformed',
        'must be absolute: https, http on loopback, or a private-use scheme with a dot in it; without a fragment.',
      ),
    ),
  ),
  default: v.nullish(v.boolean()),
})

const RedirectUris = v.pipe(
  v.array(RedirectUri),
  v.maxLength(20, requirement('too_many', 'must have at most 20 redirect URIs.')),
  v.check(
    (uris) => uris.filter((uri) => uri.default).length <= 1,
    requirement('several_defaults', 'must not mark more than one as the default.'),
  ),
)

const commonInput = {
  name: Name,
  description: v.nullish(Description),
  scopes: v.nullish(Scopes),
}

const oauthInput = {
  ...commonInput,
  application_type: v.literal('oauth'),
  redirect_uris: v.nullish(RedirectUris),
  uses_pkce: v.nullish(v.boolean()),
}

export const CreateApplication = v.variant('application_type', [
  v.object({
    ...commonInput,
    application_type: v.literal('m2m'),
    organization_id: OrganizationId,
    redirect_uris: v.nullish(
      v.pipe(
        v.array(v.unknown()),
        v.maxLength(0, requirement('not_allowed', 'must be left out: only oauth applications have redirect URIs.')),
      ),
    ),
  }),
  v.variant('is_first_party', [
    v.object({
      ...oauthInput,
      is_first_party: v.literal(true),
      organization_id: v.nullish(
        v.never(requirement('not_allowed', 'must be left out: a first-party application belongs to no organization.')),
      ),
    }),
    v.object({ ...oauthInput, is_first_party: v.literal(false), organization_id: OrganizationId }),
  ]),
])

/** What is absent stays as it is. The SDK for Node sends null for every option left out, so null scopes and URIs stay too. */
export const UpdateApplication = v.object({
  name: v.optional(Name),
  description: v.nullish(Description),
  scopes: v.nullish(Scopes),
  redirect_uris: v.nullish(RedirectUris),
})

const SecretName = nameUpTo(100)

/** Date moves 30 February on into March, and writes the year 10000 with six digits. */
function isOnCalendar(time: string): boolean {
  const day = time.slice(0, 'YYYY-MM-DD'.length)
  return new Date(day).toJSON()?.startsWith(day) && Date.parse(time) < Date.UTC(10_000, 0)
}

const malformedTime = requirement('malformed', 'must be an ISO 8601 timestamp with a time zone: 2027-01-31T12:00:00Z.')

export const Time = v.pipe(v.string(), v.isoTimestamp(malformedTime), v.check(isOnCalendar, malformedTime))

/** That `expires_at` is in the future, storage sees to: a request that is sent again may find it over. */
export const CreateClientSecret = v.object({
  name: v.nullish(SecretName),
  expires_at: v.nullish(Time),
})

/** What is absent stays as it is; null takes it away. */
export const UpdateClientSecret = v.object({
  name: v.nullish(SecretName),
  expires_at: v.nullish(
    v.pipe(
      Time,
      v.check((time) => Date.parse(time) > Date.now(), requirement('past', 'must be in the future.')),
    ),
  ),
  disabled: v.optional(v.boolean()),
})

export const RotateClientSecrets = v.object({
  /** How long the other secrets stay good, in seconds: 30 days at most. */
  grace_period_seconds: v.nullish(
    v.pipe(
      v.number(),
      v.integer(requirement('out_of_range', 'must be a whole number from 0 to 2592000.')),
      v.minValue(0, requirement('out_of_range', 'must be a whole number from 0 to 2592000.')),
      v.maxValue(2_592_000, requirement('out_of_range', 'must be a whole number from 0 to 2592000.')),
    ),
    86_400,
  ),
})

export const FindClientSecrets = v.object({
  hint: v.pipe(
    v.string(requirement('required', 'must stand once: the last six characters of a secret.')),
    v.regex(
      /^[0-9A-Za-z]{6}$/,
      requirement('malformed', 'must be the last six characters of a secret, and no more of it.'),
    ),
  ),
})

export const VerifyClientSecret = v.object({
  client_secret: v.string(),
  /** Whose it must be. */
  client_id: v.nullish(v.string()),
})

const RegistrationTypes = v.array(
  v.picklist(['authenticated', 'dynamic'], requirement('invalid', 'must be authenticated, dynamic or both.')),
)

/** How many objects a page has at most. */
export const Limit = v.optional(
  v.pipe(
    v.string(requirement('repeated', 'must not be repeated.')),
    v.regex(/^([1-9]\d?|100)$/, requirement('out_of_range', 'must be a whole number from 1 to 100.')),
    v.transform(Number),
  ),
  '10',
)

const ListQuery = v.object({
  limit: Limit,
  order: v.optional(
    v.picklist(['asc', 'desc', 'normal'], requirement('invalid', 'must be asc, desc or normal.')),
    'desc',
  ),
  before: v.optional(v.string(requirement('repeated', 'must not be repeated.'))),
  after: v.optional(v.string(requirement('repeated', 'must not be repeated.'))),
  organization_id: v.optional(OrganizationId),
  registration_types: RegistrationTypes,
})

export const ListApplications = v.pipe(
  v.record(v.string(), v.union([v.string(), v.array(v.string())])),
  v.transform((query) => ({
    ...query,
    registration_types: listParameter(query, 'registration_types') ?? ['authenticated'],
  })),
  ListQuery,
  v.forward(
    v.check(
      ({ before, after }) => before === undefined || after === undefined,
      requirement('with_after', 'must not stand together with after.'),
    ),
    ['before'],
  ),
)

export const Timestamp = v.pipe(v.string(), v.isoTimestamp())

const application = {
  object: v.literal('connect_application'),
  id: v.string(),
  client_id: v.string(),
  name: v.string(),
  description: v.nullable(v.string()),
  scopes: v.array(v.string()),
  created_at: Timestamp,
  updated_at: Timestamp,
}

const oauthApplication = {
  ...application,
  application_type: v.literal('oauth'),
  redirect_uris: v.array(v.strictObject({ uri: v.string(), default: v.boolean() })),
  uses_pkce: v.boolean(),
}

export const Application = v.variant('application_type', [
  v.strictObject({ ...application, application_type: v.literal('m2m'), organization_id: v.string() }),
  v.variant('is_first_party', [
    v.strictObject({ ...oauthApplication, is_first_party: v.literal(true) }),
    v.strictObject({
      ...oauthApplication,
      is_first_party: v.literal(false),
      was_dynamically_registered: v.literal(false),
      organization_id: v.string(),
    }),
  ]),
])

export const ApplicationList = v.strictObject({
  object: v.literal('list'),
  data: v.array(Application),
  list_metadata: v.strictObject({ before: v.nullable(v.string()), after: v.nullable(v.string()) }),
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
}

/** A secret that exists: there is no plaintext. */
export const ClientSecret = v.strictObject(clientSecret)

/** A secret at its creation: the one shape that has the plaintext. */
export const IssuedClientSecret = v.strictObject({ ...clientSecret, secret: v.string() })

export const ClientSecretList = v.array(ClientSecret)

/** What a search finds: whoever asks does not know the application yet. */
export const FoundClientSecrets = v.array(v.strictObject({ ...clientSecret, application_id: v.string() }))

export const Verification = v.variant('valid', [
  v.strictObject({ valid: v.literal(true), client_secret: ClientSecret, application: Application }),
  v.strictObject({ valid: v.literal(false) }),
])

/** Every refusal. */
export const ErrorBody = v.strictObject({
  message: v.string(),
  code: v.string(),
  entity_id: v.optional(v.string()),
  errors: v.optional(v.array(v.strictObject({ field: v.string(), code: v.string(), message: v.string() }))),
})
