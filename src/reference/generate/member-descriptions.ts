/**
 * The meaning of each member of each schema, by its path (`Application.redirect_uris.uri`), or by its name if the
 * meaning is the same everywhere. The rules of the schemas add further sentences.
 */
const WORDS: Readonly<Record<string, string>> = {
  object: 'The type of this object.',
  id: 'Unique ID.',
  client_id: 'The application’s OAuth client ID.',
  name: 'A name for people.',
  description: 'What the application is for. May have several lines.',
  'UpdateApplication.description': 'What the application is for. May have several lines. Null clears it.',
  scopes: 'The scopes that the application may request.',
  created_at: 'ISO 8601, in UTC, with milliseconds.',
  updated_at: 'The time of the last change. A use is not a change.',
  application_type:
    '`m2m` authenticates itself with a client secret; `oauth` signs people in. The type can’t be changed later.',
  organization_id:
    'The organization that owns the application, by its ID in your own system. Oncekey checks the form of the ID only.',
  redirect_uris: 'The redirect URIs of an `oauth` application.',
  uri: 'The redirect URI, kept exactly as it was sent.',
  default: 'Whether this is the default redirect URI. If no URI has this member, the first one is the default.',
  uses_pkce: 'Whether the application uses PKCE (RFC 7636). False by default.',
  is_first_party:
    'Whether the application is your own. A third-party application belongs to an organization; for a first-party one, `organization_id` is ignored.',
  was_dynamically_registered: 'Always false.',
  secret: 'The plaintext of the client secret. No other response contains it.',
  secret_hint: 'The last six characters of the secret.',
  last_used_at:
    'The last successful use: a token, an introspection or a verification. Null before the first one. Updated at most once a minute, after the response is sent, so it can be a minute behind.',
  expires_at: 'The time when the secret stops working. Absent if it never expires.',
  'CreateClientSecret.expires_at':
    'The time when the secret stops working. By default it never expires, or, in an environment with `max_lifetime_days`, as late as this allows.',
  ...Object.fromEntries(
    ['ClientSecret', 'IssuedClientSecret', 'ListedClientSecret', 'FoundClientSecrets'].map((schema) => [
      `${schema}.scopes`,
      'The scopes that the secret may request, as long as the application has them. Absent if it may request all scopes of the application.',
    ]),
  ),
  'Event.data.scopes': 'The scopes that the application or the secret may request.',
  allowed_ips: 'The IP addresses and CIDR ranges from which the secret works. Absent if it works from every address.',
  'CreateClientSecret.scopes': 'Scopes of the application that the secret may request. All of them by default.',
  'CreateClientSecret.allowed_ips':
    'The IP addresses and CIDR ranges, IPv4 or IPv6, from which the secret works. Every address by default.',
  'UpdateClientSecret.scopes':
    'Scopes of the application that the secret may request. Null allows all of them. Introspection reports only these for tokens that were issued before.',
  'UpdateClientSecret.allowed_ips':
    'The IP addresses and CIDR ranges, IPv4 or IPv6, from which the secret works. Null allows every address.',
  'VerifyClientSecret.ip_address':
    'The IP address from which your service received the secret, for secrets with `allowed_ips`. By default the address of your service counts.',
  expires_in_days: 'The reminder: 30, 7 or 1 days before the expiry.',
  disabled: 'True for a disabled secret, which does not work until it is enabled. Absent otherwise.',
  'UpdateClientSecret.disabled': 'True disables the secret, false enables it.',
  application_id: 'The ID of the application that owns the secret.',
  grace_period_seconds:
    'How long the other secrets keep working. A secret that expires earlier keeps its own expiry. 0 stops them at once.',
  hint: 'Only secrets that end in these characters. Case-sensitive. Oncekey stores and compares the last six.',
  state:
    'The state of the secret. `expiring` secrets were replaced by a rotation or expire within 7 days. In a query: one or more states, separated by commas.',
  unused_for_days:
    'Only secrets without a use for this many days that are neither revoked nor expired. A secret that was never used counts from its creation.',
  never_expires:
    '`true` for secrets without an expiry, `false` for secrets with one. Only secrets that are neither revoked nor expired.',
  expires_within_days: 'Only secrets that will expire within this many days.',
  leak_reported: '`true` for secrets that are reported as leaked, `false` for the others.',
  is_complete:
    '`false` if more than 5,000 secrets match `application_id`, `hint` or `leak_reported`: a page searches 5,000 of them, and the pages together may lack some. Absent otherwise.',
  'ListClientSecrets.application_id': 'Only secrets of this application.',
  'ListApplications.organization_id': 'Only applications of this organization.',
  'ListEvents.organization_id': 'Only events of applications of this organization.',
  'ListClientSecrets.organization_id': 'Only secrets of applications of this organization.',
  'ListClientSecrets.created_by':
    'Only secrets that this API key created, by its ID, or this person, by the email address.',
  application_name: 'The name of the application that owns the secret.',
  created_by: 'The API key that created the secret, with its name at that time. Null if it is not known.',
  'created_by.name': 'The name of the API key.',
  'created_by.person':
    'The email address of the person who created the secret in the dashboard, after a sign-in through Cloudflare Access. Absent otherwise.',
  last_used_from: 'The origin of the use at `last_used_at`. Null if it is not known.',
  ip_prefix: 'The network of the IP address: /24 of IPv4, /48 of IPv6.',
  revoked_at: 'The time at which the secret was revoked. Absent otherwise.',
  leak_reported_at: 'The time of the first report that the secret has leaked. Absent if there is none.',
  leak_source: 'The URL where the reported secret was found. Null if it is not known.',
  client_secret: 'The client secret, in plaintext.',
  valid: 'Whether the secret is valid now.',
  application: 'The application that owns the secret.',
  leak_reaction:
    'The reaction to a credential that is reported at `POST /leaks`. `notify` records an event; `disable` also disables it, and `revoke` also revokes it. `notify` by default.',
  max_lifetime_days:
    'The longest lifetime of a client secret, in days. A secret that is created without an expiry gets this lifetime; a later expiry is a 422. Existing secrets keep their expiry. Null for no limit.',
  max_unused_days:
    'Once a day, cleanup disables client secrets that were neither used nor changed for this many days, and records `connect_application_secret.unused`. Null for never.',
  credential: 'The credential that was found, whole.',
  source: 'The URL where the credential was found. Null or absent if it is not known.',
  'data.source': 'The URL where the credential was found. Null if it is not known.',
  reaction:
    'What was done, by the setting `leak_reaction` of the environment. `disable` revokes an API key, and only notifies of a signing secret, because its receivers would accept forged webhooks all the same.',
  'AcceptedLeak.status': 'Always `accepted`.',
  frozen_at:
    'The time of the freeze: since then the environment issues no client secrets and no tokens. Null unless it is frozen.',
  frozen:
    'True freezes the environment: it issues no client secrets, API keys, webhook signing secrets and tokens, and nothing that exists can do more or work for longer. False lifts the freeze.',
  'Environment.client_id': 'The audience (`aud`) of the environment’s access tokens.',
  data: 'The objects of this page.',
  'Event.data': 'The object after the change.',
  event: 'The event type.',
  events: 'The event types to return. All types by default.',
  range_start: 'Start of the range, inclusive.',
  range_end: 'End of the range, exclusive.',
  context: 'Who made the change.',
  'data.api_key': 'The API key that signed in.',
  api_key: 'The API key that made the change, through the API or the dashboard. Null for system events.',
  'api_key.name': 'The name of the API key.',
  actor: 'Who made the change: an API key, a dashboard session of one, the operator, or the system.',
  session_id: 'The dashboard session that made the change. Null if it was made otherwise.',
  person:
    'The email address of the person who made the change in the dashboard, after a sign-in through Cloudflare Access. Absent otherwise.',
  client_request_id: 'The `X-Request-ID` that the caller sent. Null if it sent none.',
  ip_address: 'The IP address of the caller. Null for the operator and the system.',
  country: 'The country of that address (ISO 3166-1 alpha-2), where known.',
  user_agent: 'The `User-Agent` of the caller.',
  reason: 'Why the secret was refused. `address_not_allowed`: it works, but not from this IP address (`allowed_ips`).',
  access: '`read` or `write`. Always `read` for a key with `permissions`, which then say all that it may do.',
  permissions:
    'What the key may do: `applications:write`, `secrets:write`, `secrets:verify`, `events:read`. Null for all that its access allows.',
  'data.allowed_ips': 'The IP addresses and CIDR ranges from which the key works. Null for every address.',
  'data.expires_at': 'The time when the key stops working. Null if it never expires.',
  url: 'The URL of the endpoint, without its query.',
  'data.events': 'The event types that the endpoint receives. All types if empty.',
  kid: 'The ID of the new signing key.',
  algorithm: 'The algorithm of the new signing key.',
  leaked: 'Whether the previous key had leaked, so that it was withdrawn at once.',
  request_id: 'The `X-Request-ID` of the request. Null for system events.',
  client_secrets: 'Other secrets that the same change revoked or expired.',
  list_metadata: 'Cursors for the adjacent pages.',
  before: 'Returns the objects before this ID.',
  after: 'Returns the objects after this ID.',
  'list_metadata.before': 'The cursor for the previous page. Null on the first page.',
  'list_metadata.after': 'The cursor for the next page. Null on the last page.',
  'ListEvents.after':
    'Returns the events after this ID. If that event has been removed at the end of its retention, the list continues with the oldest event.',
  limit: 'The maximum number of objects per page.',
  order:
    'Order of creation: `asc` is oldest first, `desc` newest first. `normal` is newest first with swapped cursors: `after` returns newer objects, `before` older ones.',
  registration_types: 'How applications were registered. Oncekey has no `dynamic` ones.',
  'UpdateApplication.scopes':
    'The scopes that the application may request. Null leaves them unchanged, `[]` removes all.',
  'UpdateApplication.redirect_uris':
    'The redirect URIs of an `oauth` application. Null leaves them unchanged, `[]` removes all.',
  'UpdateClientSecret.name': 'A name for people. Null removes it.',
  'UpdateClientSecret.expires_at':
    'The time when the secret stops working. Null removes this time, or sets the latest one that `max_lifetime_days` of the environment allows. So a secret that a rotation would end keeps working.',
  'VerifyClientSecret.client_id':
    'The client ID that must own the secret. Without it, a secret of any application in the environment is valid.',
  'Verification.client_secret': 'The secret, without its plaintext.',
  message: 'A description for people. It may change.',
  code: 'A code for programs. It does not change.',
  entity_id: 'The ID that was not found.',
  errors: 'The invalid parameters.',
  field: 'The name of the parameter.',
  error: 'An error code of RFC 6749 §5.2.',
  error_description: 'A description for people. It may change.',
  grant_type: 'Always `client_credentials`.',
  scope: 'Scopes, separated by spaces.',
  'TokenRequest.scope': 'The requested scopes, separated by spaces. All scopes of the application by default.',
  'TokenRequest.client_id': 'For `client_secret_post`.',
  'TokenRequest.client_secret': 'For `client_secret_post`.',
  'IntrospectionRequest.client_id': 'For `client_secret_post`.',
  'IntrospectionRequest.client_secret': 'For `client_secret_post`.',
  token: 'The access token to check.',
  token_type_hint: 'Ignored: Oncekey issues access tokens only.',
  access_token: 'The access token, a JWT (RFC 9068).',
  token_type: 'Always `bearer` (RFC 6750).',
  expires_in: 'The lifetime of the token, in seconds.',
  active: 'Whether the token is valid now.',
  iss: 'The issuer: the origin of this deployment.',
  aud: 'The client ID of the environment.',
  sub: 'The client ID of the application.',
  org_id: 'The organization of the application.',
  jti: 'The unique ID of the token.',
  iat: 'The time of issue, in seconds since 1970.',
  exp: 'The time of expiry, in seconds since 1970.',
  secret_id: 'The client secret that obtained the token. The token is inactive as soon as this secret is.',
  retired_at: 'The time at which a rotation retired the key, in seconds since 1970. Absent while the key may sign.',
  status: 'Always `ok`.',
  'regions.status': '`unavailable` if the database of the region fails, as its `message` says.',
  version: 'The version of Oncekey.',
  regions: 'The state of each region, if there are several. In an error only at `GET /readyz`.',
  region: 'The digit of the region, as IDs and credentials carry it.',
  binding: 'The binding of the region’s database.',
  'ErrorBody.regions.message': 'Why the region is unavailable.',
  'Readiness.regions.message': 'Why the region is unavailable.',
  version_id: 'The ID that Cloudflare gave to the deployed version of the Worker.',
}

const used = new Set<string>()

/** The schemas whose members RFC 7517, RFC 8414 and OpenID Connect Discovery describe. */
const STANDARD = ['PublishedKeys', 'ServerMetadata', 'OpenIdConfiguration']

/** The description of a member: the entry of `WORDS` for the longest suffix of its path. Throws if there is none. */
export function words(path: string): string {
  const names = path.replaceAll('[]', '').split('.')
  for (let i = 0; i < names.length; i++) {
    const key = names.slice(i).join('.')
    const found = WORDS[key]
    if (found === undefined) continue
    used.add(key)
    return found
  }
  if (STANDARD.some((schema) => path.startsWith(`${schema}.`))) return ''
  throw new Error(`member-descriptions.ts does not describe ${path}`)
}

/** The keys of `WORDS` that describe no member. */
export function unusedWords(): string[] {
  return Object.keys(WORDS).filter((key) => !used.has(key))
}
