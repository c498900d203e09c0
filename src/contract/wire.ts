import type { InferOutput } from 'valibot'
import type { Application, NewApplication, RedirectUri } from '../storage/applications.ts'
import type { ClientSecret } from '../storage/client-secrets.ts'
import type * as schemas from './management.ts'

/** How objects look outside: WorkOS's names and timestamps. */

export function applicationToWire(application: Application): InferOutput<typeof schemas.Application> {
  const common = {
    object: 'connect_application' as const,
    id: application.id,
    client_id: application.clientId,
    name: application.name,
    description: application.description,
    scopes: [...application.scopes],
    created_at: timestamp(application.createdAt),
    updated_at: timestamp(application.updatedAt),
  }
  const { organizationId } = application
  if (application.applicationType === 'm2m') {
    return { ...common, application_type: 'm2m', organization_id: organizationId ?? '' }
  }
  const oauth = {
    ...common,
    application_type: 'oauth' as const,
    redirect_uris: [...application.redirectUris],
    uses_pkce: application.usesPkce,
  }
  return organizationId === null
    ? { ...oauth, is_first_party: true }
    : { ...oauth, is_first_party: false, was_dynamically_registered: false, organization_id: organizationId }
}

export function clientSecretToWire(secret: ClientSecret): InferOutput<typeof schemas.ClientSecret> {
  return {
    object: 'connect_application_secret',
    id: secret.id,
    secret_hint: secret.hint,
    last_used_at: secret.lastUsedAt === null ? null : timestamp(secret.lastUsedAt),
    created_at: timestamp(secret.createdAt),
    updated_at: timestamp(secret.updatedAt),
    ...(secret.name !== null && { name: secret.name }),
    ...(secret.expiresAt !== null && { expires_at: timestamp(secret.expiresAt) }),
    ...(secret.disabledAt !== null && { disabled: true as const }),
  }
}

/** ISO 8601 in UTC, with milliseconds. */
export function timestamp(unixMs: number): string {
  return new Date(unixMs).toISOString()
}

export function applicationFromWire(
  input: InferOutput<typeof schemas.CreateApplication>,
): Omit<NewApplication, 'id' | 'clientId'> {
  const common = { name: input.name, description: input.description ?? null, scopes: input.scopes ?? [] }
  if (input.application_type === 'm2m') {
    return {
      ...common,
      applicationType: 'm2m',
      organizationId: input.organization_id,
      redirectUris: [],
      usesPkce: false,
      isFirstParty: false,
    }
  }
  return {
    ...common,
    applicationType: 'oauth',
    organizationId: input.is_first_party ? null : input.organization_id,
    redirectUris: redirectUris(input.redirect_uris ?? []),
    usesPkce: input.uses_pkce ?? false,
    isFirstParty: input.is_first_party,
  }
}

/** The first is the default where none is marked. */
export function redirectUris(input: { uri: string; default?: boolean | null | undefined }[]): RedirectUri[] {
  const marked = input.findIndex((redirectUri) => redirectUri.default)
  return input.map(({ uri }, i) => ({ uri, default: i === Math.max(marked, 0) }))
}
