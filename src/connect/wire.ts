import type { InferOutput } from 'valibot'
import type { Application } from '../storage/applications.ts'
import type { ClientSecret } from '../storage/client-secrets.ts'
import type * as schemas from './schemas.ts'

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
