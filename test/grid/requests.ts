import { LEFT_OUT, ROUTES } from '../fuzz/routes.ts'
import { m2mApplication, ORGANIZATION } from '../requests.ts'

/** A request of each route that succeeds, and some that are refused or ask for more. `{…}` is a value of the world. */
export interface GridRequest {
  readonly name: string
  readonly method: string
  readonly path: string
  readonly auth: 'bearer' | 'basic' | 'cookie'
  readonly json?: object
  readonly form?: Readonly<Record<string, string>>
  /** Another client secret for `basic`. */
  readonly plaintext?: string
  /** False if a repetition is a change of its own. */
  readonly isRepeatable: boolean
  /** True if its change comes after the response: it is made whole, or lost. */
  readonly canBeLost?: boolean
}

const JSON_BODIES = new Map<string, object>([
  ['POST /connect/applications', m2mApplication],
  ['PUT /connect/applications/{id}', { name: 'renamed', scopes: ['read', 'write'] }],
  ['POST /connect/applications/{id}/client_secrets', { name: 'new' }],
  ['POST /connect/applications/{id}/client_secrets/rotate', { grace_period_seconds: 3600 }],
  ['PATCH /connect/client_secrets/{id}', { name: 'renamed', disabled: true }],
  ['PATCH /connect/environment', { leak_reaction: 'revoke' }],
  ['POST /leaks', { credential: '{plaintext}', source: 'https://paste.example/1' }],
  ['POST /connect/client_secrets/verify', { client_secret: '{plaintext}', client_id: '{client}' }],
])

const NEW_SECRET = { name: 'new', lifetime: '0', token: '{token}' }

const FORMS = new Map<string, Readonly<Record<string, string>>>([
  ['POST /oauth2/token', { grant_type: 'client_credentials' }],
  ['POST /oauth2/introspection', { token: '{accessToken}' }],
  ['POST /dashboard/sign-in', { api_key: '{apiKey}', to: '' }],
  ['POST /dashboard/find', { q: 'Nightly' }],
  ['POST /dashboard/search', { q: 'Nightly' }],
  [
    'POST /dashboard/applications/new',
    { kind: 'm2m', name: 'new', organization_id: ORGANIZATION, scopes: 'read', token: '{token}' },
  ],
  ['POST /dashboard/applications/{id}/edit', { type: 'm2m', name: 'renamed', scopes: 'read' }],
  ['POST /dashboard/applications/{id}/new-secret', NEW_SECRET],
  ['POST /dashboard/applications/{id}/rotate', { ...NEW_SECRET, grace: '3600' }],
  ['POST /dashboard/applications/{id}/replace-secret', { ...NEW_SECRET, secret: '{secret}' }],
  ['POST /dashboard/applications/{id}/delete', { name: 'x', expected: 'x' }],
  ['POST /dashboard/applications/{id}/secrets/{secret}/edit', { name: 'renamed', lifetime: 'same' }],
  ['POST /dashboard/secrets/bulk', { secret: '{secret}', action: 'revoke' }],
  ['POST /dashboard/secrets/bulk/confirm', { secrets: '{secret} {expiring}', action: 'revoke', typed: 'revoke 2' }],
  ['POST /dashboard/settings', { leak_reaction: 'revoke' }],
  ['POST /dashboard/keys/new', { name: 'new', access: 'read', lifetime: '0', token: '{token}' }],
  ['POST /dashboard/keys/{id}/rename', { name: 'renamed' }],
  ['POST /dashboard/webhooks/new', { url: 'https://other.example/hooks', token: '{token}' }],
  ['POST /dashboard/webhooks/resend', { endpoint: '{endpoint}', event: '{event}' }],
])

const QUERIES = new Map<string, string>([
  ['GET /connect/client_secrets', '?state=active&limit=10'],
  ['GET /dashboard/find', '?q=Nightly'],
])

/** Requests beside the usual one of each route. */
const VARIANTS: readonly (Partial<GridRequest> & { readonly of: string; readonly as: string })[] = [
  { of: 'POST /connect/applications/{id}/client_secrets', as: 'by client ID', path: path('{client}') },
  { of: 'GET /connect/client_secrets', as: 'by hint', path: '/connect/client_secrets?hint={hint}' },
  { of: 'GET /connect/applications', as: 'further', path: '/connect/applications?after={second}&limit=1' },
  { of: 'POST /leaks', as: 'of an API key', json: { credential: '{apiKey}' } },
  { of: 'GET /events', as: 'further', path: '/events?after={event}&limit=2' },
  {
    of: 'POST /connect/client_secrets/verify',
    as: 'of a disabled one',
    json: { client_secret: '{disabledPlaintext}' },
  },
  { of: 'POST /oauth2/token', as: 'of a disabled one', plaintext: '{disabledPlaintext}' },
  { of: 'POST /oauth2/introspection', as: 'of a disabled one', plaintext: '{disabledPlaintext}' },
  {
    of: 'PATCH /connect/client_secrets/{id}',
    as: 'keep',
    path: '/connect/client_secrets/{expiring}',
    json: { expires_at: null },
  },
  {
    of: 'PATCH /connect/client_secrets/{id}',
    as: 'enable',
    path: '/connect/client_secrets/{disabled}',
    json: { disabled: false },
  },
]

function path(application: string): string {
  return `/connect/applications/${application}/client_secrets`
}

const usual = [...ROUTES, ...LEFT_OUT].map(([method, template]): GridRequest => {
  const name = `${method} ${template}`
  const isForm = /^\/(oauth2|dashboard)/.test(template) && method === 'POST'
  const json = JSON_BODIES.get(name)
  return {
    name,
    method,
    path: filled(template) + (QUERIES.get(name) ?? ''),
    auth: template.startsWith('/oauth2') ? 'basic' : template.startsWith('/dashboard') ? 'cookie' : 'bearer',
    ...(isForm ? { form: FORMS.get(name) ?? {} } : json && { json }),
    isRepeatable: name !== 'POST /dashboard/sign-in',
    canBeLost: name === 'POST /leaks',
  }
})

export const REQUESTS: readonly GridRequest[] = [
  ...usual,
  ...VARIANTS.map(({ of, as, ...changes }) => {
    const route = usual.find(({ name }) => name === of) as GridRequest
    return { ...route, ...changes, name: `${of}, ${as}` }
  }),
]

/** The path with the object that its route changes. */
function filled(template: string): string {
  const secret = template.endsWith('/enable') ? '{disabled}' : template.endsWith('/keep') ? '{expiring}' : '{secret}'
  return template
    .replace('{secret}', secret)
    .replace('/client_secrets/{id}', `/client_secrets/${secret}`)
    .replace('/applications/{id}', '/applications/{application}')
    .replace('/keys/{id}', '/keys/{key}')
    .replace('/sessions/{id}', '/sessions/{otherSession}')
    .replace('/webhooks/{id}', '/webhooks/{endpoint}')
    .replace('{client_id}', '{client}')
}
