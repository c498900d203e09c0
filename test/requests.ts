/** Bodies and paths that many tests send, inside the runtime or from outside. */

export const ORGANIZATION = 'org_01EHZNVPK3SFK441A1RGBFSHRT'

export const m2mApplication = { name: 'Nightly export', application_type: 'm2m', organization_id: ORGANIZATION }

/** The path of an application's secrets. */
export const secretsOf = (applicationId: string): string => `/connect/applications/${applicationId}/client_secrets`

/** A moment as the API writes it. */
export const iso = (unixMs: number): string => new Date(unixMs).toISOString()
