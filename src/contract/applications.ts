import * as v from 'valibot'
import {
  hasOneCursor,
  Limit,
  ListMetadata,
  listParameter,
  Name,
  Order,
  OrganizationId,
  once,
  Query,
  Timestamp,
  textUpTo,
  visible,
  wellFormed,
  withoutCredential,
} from './fields.ts'
import { rule } from './rules.ts'

/**
 * Schemas of applications in requests and responses, with WorkOS's field names. Unknown members of a request are
 * ignored.
 */

/** A description may have tabs and line breaks, but no other control characters. */
const Description = v.pipe(
  v.string(),
  textUpTo(1000, 'description_too_long'),
  v.check((text) => !/[^\P{Cc}\t\n\r]/u.test(text), rule('control_character')),
  visible,
  wellFormed,
  withoutCredential,
)

/** A scope-token (RFC 6749 §3.3). */
const Scope = v.pipe(v.string(), v.regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, rule('malformed_scope')), withoutCredential)

export const Scopes = v.pipe(
  v.array(Scope),
  v.maxLength(100, rule('too_many_scopes')),
  v.check((scopes) => new Set(scopes).size === scopes.length, rule('repeated_scope')),
)

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

/**
 * Schemes that can execute code or read local data. No label of a private-use scheme may be one of these:
 * `javascript.x` is refused.
 */
const DANGEROUS_SCHEMES = new Set(['javascript', 'vbscript', 'data', 'blob', 'file', 'about', 'view-source'])

/**
 * Matches dot segments (RFC 3986 §6.2.2.3). URL parsers resolve them, even percent-encoded ones, so a redirect would go
 * to a different path than the URI shows.
 */
const DOT_SEGMENT = /\/(\.|%2e){1,2}(?![^/?#])/i

/**
 * Returns true if a text is a valid redirect URI: absolute and without a fragment (RFC 6749 §3.1.2). The URL parser
 * accepts characters that RFC 3986 does not, so they are checked first. Userinfo (https://good.example@evil.example)
 * and wildcard hosts are refused, because a program that compares URIs could mistake one host for another.
 */
function isRedirectUri(uri: string): boolean {
  if (!/^[\w\-.~:/?@!$&'()*+,;=%[\]]+$/.test(uri) || DOT_SEGMENT.test(uri.replace(/\?.*/, ''))) return false
  const url = URL.parse(uri)
  if (!url || url.username || url.password || url.hostname.includes('*')) return false
  // The URL parser would also find a host in `https:example.com`, without `//`.
  if (url.protocol === 'https:') return /^https:\/\/[^/]/i.test(uri)
  if (url.protocol === 'http:') return /^http:\/\/[^/]/i.test(uri) && LOOPBACK.has(url.hostname)
  // A private-use scheme is a reversed domain name (RFC 8252 §7.1).
  const labels = url.protocol.slice(0, -1).split('.')
  return labels.length > 1 && !labels.some((label) => DANGEROUS_SCHEMES.has(label))
}

const RedirectUri = v.object({
  uri: v.pipe(
    v.string(),
    v.maxLength(2048, rule('uri_too_long')),
    v.check(isRedirectUri, rule('malformed_redirect_uri')),
    withoutCredential,
  ),
  default: v.nullish(v.boolean()),
})

const RedirectUris = v.pipe(
  v.array(RedirectUri),
  v.maxLength(20, rule('too_many_redirect_uris')),
  v.check((uris) => uris.filter((uri) => uri.default).length <= 1, rule('several_defaults')),
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
    redirect_uris: v.nullish(v.pipe(v.array(v.unknown()), v.maxLength(0, rule('redirect_uris_not_allowed')))),
  }),
  v.variant('is_first_party', [
    // An organization_id is ignored here, because WorkOS's own example sends one.
    v.object({ ...oauthInput, is_first_party: v.literal(true) }),
    v.object({ ...oauthInput, is_first_party: v.literal(false), organization_id: OrganizationId }),
  ]),
])

/**
 * Absent members stay unchanged. The SDK for Node sends null for each omitted option, so null also leaves scopes and
 * redirect URIs unchanged.
 */
export const UpdateApplication = v.object({
  name: v.optional(Name),
  description: v.nullish(Description),
  scopes: v.nullish(Scopes),
  redirect_uris: v.nullish(RedirectUris),
})

const RegistrationTypes = v.array(v.picklist(['authenticated', 'dynamic'], rule('unknown_registration_type')))

const ListQuery = v.object({
  limit: Limit,
  order: v.optional(Order, 'desc'),
  before: v.optional(once),
  after: v.optional(once),
  organization_id: v.optional(OrganizationId),
  registration_types: RegistrationTypes,
})

export const ListApplications = v.pipe(
  Query,
  v.transform((query) => ({
    ...query,
    registration_types: listParameter(query, 'registration_types') ?? ['authenticated'],
  })),
  ListQuery,
  v.forward(
    v.check((query) => hasOneCursor(query), rule('before_with_after')),
    ['before'],
  ),
)

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
  list_metadata: ListMetadata,
})
