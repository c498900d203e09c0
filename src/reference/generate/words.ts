/**
 * What each member of each schema means: by its path (`Application.redirect_uris.uri`), or by its name alone where it
 * means the same everywhere. Rules are not here: they are the schemas' own.
 */
const WORDS: Readonly<Record<string, string>> = {
  object: 'What kind of object this is.',
  id: 'Names it, for good.',
  client_id: 'The application’s OAuth client id.',
  name: 'What people call it.',
  description: 'What it is for, in one line or several.',
  'UpdateApplication.description': 'What it is for, in one line or several. Null takes it away.',
  scopes: 'What its access tokens may be granted.',
  created_at: 'UTC, with milliseconds.',
  updated_at: 'When it was last changed. Use is no change.',
  application_type: '`m2m` signs itself in, with a client secret; `oauth` signs people in.',
  organization_id: 'Whose it is, in your own system: its form is checked, not that it exists.',
  redirect_uris: 'Where people may be sent back to.',
  uri: 'Compared character by character.',
  default: 'The first URI is the default when no URI has this member.',
  uses_pkce: 'Whether it signs people in with PKCE (RFC 7636). False when absent.',
  is_first_party: 'Whether it is your own, and belongs to no organization. An `organization_id` is then ignored.',
  was_dynamically_registered: 'Always false: there is no dynamic registration here.',
  secret: 'The client secret itself. It is in this answer alone, and cannot be read again.',
  secret_hint: 'The last six characters of the secret.',
  last_used_at: 'When it last let somebody in, to the minute; null until then.',
  expires_at: 'When it stops working. Absent for never.',
  disabled: 'Switched off, until it is switched on again. Absent on those that are not.',
  'UpdateClientSecret.disabled': 'Whether it is switched off.',
  application_id: 'Whose secret it is.',
  grace_period_seconds: 'How long the other secrets stay good, if they were not going to expire sooner.',
  hint: 'The last six characters of a secret.',
  client_secret: 'The client secret.',
  valid: 'Whether the secret is good, here and now.',
  application: 'Whose secret it is.',
  data: 'The page.',
  'Event.data': 'The object as the change left it.',
  event: 'What happened.',
  events: 'Which types of events: comma-separated. All when absent.',
  range_start: 'The earliest that is asked for.',
  range_end: 'The first that is not asked for any more.',
  context: 'Who did it, and in which request.',
  api_key: 'The API key, also where it was used in the dashboard. Null where time did it.',
  'api_key.name': 'What people call the key.',
  request_id: 'The request’s X-Request-ID; null where time did it.',
  client_secrets: 'Other secrets that the same change touched.',
  list_metadata: 'Where to go on.',
  before: 'The id before which the page lies.',
  after: 'The id after which the page lies.',
  'list_metadata.before': 'For the page before this one; null where there is none.',
  'list_metadata.after': 'For the page after this one; null where there is none.',
  limit: 'How many, 1 to 100.',
  order: 'By creation. `normal` is newest first too, but there `after` leads to newer ones and `before` to older ones.',
  registration_types: 'Nothing here is `dynamic`.',
  'UpdateApplication.scopes': 'What its access tokens may be granted. Null leaves them, `[]` clears them.',
  'UpdateApplication.redirect_uris': 'Where people may be sent back to. Null leaves them, `[]` clears them.',
  'UpdateClientSecret.name': 'What people call it. Null takes it away.',
  'UpdateClientSecret.expires_at': 'When it stops working. Null for never, which also takes a rotated secret back.',
  'VerifyClientSecret.client_id': 'Whose it must be. Anybody’s in this environment when absent.',
  'Verification.client_secret': 'The secret, without its plaintext.',
  message: 'For people.',
  code: 'For programs. It does not change.',
  entity_id: 'What was asked for.',
  errors: 'What is wrong with which parameter.',
  field: 'Which parameter.',
  error: 'RFC 6749 §5.2.',
  error_description: 'For people.',
  grant_type: 'Always `client_credentials`.',
  scope: 'Space-delimited scopes.',
  'TokenRequest.scope': 'Space-delimited scopes; all that the application has when absent.',
  'TokenRequest.client_id': 'With `client_secret_post`.',
  'TokenRequest.client_secret': 'With `client_secret_post`.',
  'IntrospectionRequest.client_id': 'With `client_secret_post`.',
  'IntrospectionRequest.client_secret': 'With `client_secret_post`.',
  token: 'The access token in question.',
  token_type_hint: 'Ignored: there are access tokens alone.',
  access_token: 'A JWT (RFC 9068).',
  token_type: 'RFC 6750.',
  expires_in: 'Seconds.',
  active: 'Whether the token is good, here and now.',
  iss: 'Where it was issued.',
  aud: 'The environment’s client id.',
  sub: 'The application’s client id.',
  org_id: 'The application’s organization.',
  jti: 'Names the token.',
  iat: 'Seconds since 1970.',
  exp: 'Seconds since 1970.',
  secret_id: 'The client secret that obtained it. Once that falls, so does the token.',
  status: 'All is well.',
  version: 'Of Oncekey.',
}

const used = new Set<string>()

/** The words of a member, by the longest end of its path that has any. Standards’ own members may have none. */
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
  throw new Error(`words.ts does not say what ${path} means`)
}

/** RFC 7517 and RFC 8414 say what is in these. */
const STANDARD = ['PublishedKeys', 'ServerMetadata']

/** What is worded and not there any more. */
export function unusedWords(): string[] {
  return Object.keys(WORDS).filter((key) => !used.has(key))
}
