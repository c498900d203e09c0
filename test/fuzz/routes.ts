import document from '../../src/pages/assets/generated/openapi.json' with { type: 'json' }

/** A method, and a path with its parameters in braces. */
export type Route = readonly [method: string, path: string]

const METHODS = ['get', 'put', 'post', 'patch', 'delete']

/** The routes of the API, from its description. */
const API: Route[] = Object.entries<object>(document.paths).flatMap(([path, operations]) =>
  METHODS.filter((method) => Object.hasOwn(operations, method)).map((method) => [method.toUpperCase(), path] as const),
)

const APPLICATION = '/dashboard/applications/{id}'
const SECRET = `${APPLICATION}/secrets/{secret}`
const both = (path: string): Route[] => [
  ['GET', path],
  ['POST', path],
]

const actions = (path: string, ...names: string[]) => names.map((name): Route => ['POST', `${path}/${name}`])

/** The dashboard's. */
const DASHBOARD: Route[] = [
  ['GET', '/dashboard'],
  ['GET', '/dashboard/applications'],
  ['POST', '/dashboard/search'],
  ['GET', APPLICATION],
  ...['/dashboard/applications/new', `${APPLICATION}/edit`, `${APPLICATION}/new-secret`].flatMap(both),
  ...[`${APPLICATION}/rotate`, `${APPLICATION}/revoke-all`, `${APPLICATION}/delete`].flatMap(both),
  ['POST', `${APPLICATION}/replace-secret`],
  ...[`${SECRET}/revoke`, `${SECRET}/edit`].flatMap(both),
  ...actions(SECRET, 'disable', 'enable', 'keep'),
  ['GET', `${SECRET}/first-use`],
  ...both('/dashboard/secrets'),
  ['GET', '/dashboard/secrets/export'],
  ['GET', '/dashboard/secrets/{secret}'],
  ...actions('/dashboard/secrets/{secret}', 'revoke', 'disable', 'enable', 'keep'),
  ...actions('/dashboard/secrets', 'bulk', 'bulk/confirm'),
  ...['/dashboard/settings', '/dashboard/find', '/dashboard/events', '/dashboard/sign-in'].flatMap(both),
  ...['export-csv', 'export-json', '{event}'].map((page): Route => ['GET', `/dashboard/events/${page}`]),
  ['GET', '/dashboard/keys'],
  ...both('/dashboard/keys/{id}/rename'),
  ...['/dashboard/keys/new', '/dashboard/webhooks/new', '/dashboard/webhooks/{id}/delete'].flatMap(both),
  ['GET', '/dashboard/webhooks'],
  ...actions('/dashboard/webhooks', 'resend', '{id}/test', '{id}/pause', '{id}/resume', '{id}/resend'),
]

export const ROUTES: readonly Route[] = [...API, ...DASHBOARD]

/** Routes that would end the session of the run, freeze its environment, or revoke its API key. */
export const LEFT_OUT: readonly Route[] = [
  ['POST', '/dashboard/sign-out'],
  ...both('/dashboard/keys/{id}/revoke'),
  ['POST', '/dashboard/sessions/{id}/end'],
  ...both('/dashboard/settings/freeze'),
  ['POST', '/dashboard/settings/unfreeze'],
]
