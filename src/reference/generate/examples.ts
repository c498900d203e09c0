import { openIdConfigurationOf, serverMetadataOf } from '../../contract/oauth.ts'

/** All examples are about the same application, its secrets, and their use. */

const ISSUER = 'https://secrets.example.com'

export const IDS = {
  application: 'conn_app_01KA3Z8G9M0T4XQ2R7V5W6Y1BD',
  client: 'client_01KA3Z8G9M0P8N2K5J3H7F4E6C',
  secret: 'secret_01KA3ZB7QX0D9S4G2A8Z6M3Y5T',
  organization: 'org_01EHZNVPK3SFK441A1RGBFSHRT',
  environment: 'client_01KA3Z5T4R0C7B9N3M1V6X8Z2Q',
}
/** This secret has a wrong checksum, so that scanners do not report it. */
const PLAINTEXT = 'cs_0EXAMPLE9vQ4mT7yB2nK6pR1sW8xZ3cF5gH0jL4dexamplea4D5f2'

const CREATED = '2026-11-15T09:30:00.000Z'

const application = {
  object: 'connect_application',
  id: IDS.application,
  client_id: IDS.client,
  name: 'Nightly export',
  description: null,
  scopes: ['orders:read'],
  created_at: CREATED,
  updated_at: CREATED,
  application_type: 'm2m',
  organization_id: IDS.organization,
}

const firstPartyApplication = {
  ...application,
  application_type: 'oauth',
  organization_id: undefined,
  redirect_uris: [{ uri: 'https://app.example.com/callback', default: true }],
  uses_pkce: true,
  is_first_party: true,
}

const thirdPartyApplication = {
  ...firstPartyApplication,
  is_first_party: false,
  was_dynamically_registered: false,
  organization_id: IDS.organization,
}

const clientSecret = {
  object: 'connect_application_secret',
  id: IDS.secret,
  secret_hint: PLAINTEXT.slice(-6),
  last_used_at: null,
  created_at: CREATED,
  updated_at: CREATED,
}

const usedSecret = { ...clientSecret, last_used_at: '2026-11-16T02:00:04.000Z' }

const listedSecret = {
  ...usedSecret,
  state: 'active',
  application_id: IDS.application,
  application_name: application.name,
  organization_id: IDS.organization,
  created_by: { id: 'api_key_01KA3Z5T4R0E6G8J0M2P4S6V8X', name: 'ci' },
  last_used_from: { ip_prefix: '203.0.113.0/24', country: 'NL', user_agent: 'openid-client/6.8.9' },
}

const fullSecret = {
  ...usedSecret,
  name: 'Production',
  expires_at: '2027-02-15T09:30:00.000Z',
  disabled: true,
  scopes: ['orders:read'],
  allowed_ips: ['203.0.113.0/24', '2001:db8::/32'],
}

const leakOfSecret = { leak_reported_at: '2026-11-20T08:02:11.000Z', leak_source: 'https://paste.example/b7kq' }
const revokedSecret = {
  ...listedSecret,
  ...fullSecret,
  state: 'revoked',
  created_by: { ...listedSecret.created_by, person: 'ada@example.com' },
  revoked_at: '2026-11-20T08:15:00.000Z',
  ...leakOfSecret,
}

const environment = {
  object: 'environment',
  id: 'env_01KA3Z5T4R0D2F4H6K8N0Q2S4V',
  client_id: IDS.environment,
  name: 'production',
  leak_reaction: 'notify',
  max_lifetime_days: 365,
  max_unused_days: null,
  frozen_at: null,
  created_at: CREATED,
}

const event = {
  object: 'event',
  id: 'event_01KA3ZB7QX0H5K8N1P4R7T9V2W',
  event: 'connect_application_secret.created',
  data: { ...clientSecret, application_id: IDS.application },
  created_at: CREATED,
  context: {
    actor: 'api_key',
    api_key: { id: 'api_key_01KA3Z5T4R0E6G8J0M2P4S6V8X', name: 'ci' },
    session_id: null,
    request_id: '1d3c2f0e-5b1e-4d52-8f0a-6f2f6c1d9b7a',
    client_request_id: null,
    ip_address: '203.0.113.7',
    country: 'NL',
    user_agent: 'workos-node/11.0.0',
  },
}

/** The event of a change that a person made in the dashboard. */
const eventOfPerson = {
  ...event,
  context: {
    ...event.context,
    actor: 'session',
    session_id: 'session_01KA3Z9Q2M0X4C7F1J5N8R2V6Y',
    person: 'ada@example.com',
    user_agent: 'Mozilla/5.0',
  },
}

const claims = {
  iss: ISSUER,
  aud: IDS.environment,
  sub: IDS.client,
  client_id: IDS.client,
  org_id: IDS.organization,
  scope: 'orders:read',
  jti: 'b1f0c7de-7c0a-4a53-9d55-0a1c8a3c8f2e',
  iat: 1_763_258_404,
  exp: 1_763_262_004,
  secret_id: IDS.secret,
}

const ACCESS_TOKEN =
  'eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwczovL3NlY3JldHMuZXhhbXBsZSJ9.c2lnbmF0dXJl'

/** The examples of each schema. A call shows the first example, and the section of an object shows all of them. */
export const examples: Readonly<Record<string, readonly unknown[]>> = {
  Application: [application, firstPartyApplication, thirdPartyApplication],
  ApplicationList: [{ object: 'list', data: [application], list_metadata: { before: null, after: null } }],
  CreateApplication: [
    {
      application_type: 'm2m',
      name: 'Nightly export',
      organization_id: IDS.organization,
      scopes: ['orders:read'],
    },
    {
      application_type: 'oauth',
      is_first_party: true,
      name: 'Console',
      redirect_uris: [{ uri: 'https://app.example.com/callback' }],
      uses_pkce: true,
    },
  ],
  UpdateApplication: [{ name: 'Hourly export' }],
  ClientSecret: [usedSecret, fullSecret],
  ClientSecretList: [[usedSecret]],
  IssuedClientSecret: [{ ...clientSecret, name: 'Production', secret: PLAINTEXT }],
  FoundClientSecrets: [[{ ...usedSecret, application_id: IDS.application }]],
  ListClientSecrets: [{ never_expires: 'true', unused_for_days: '90' }],
  ListedClientSecret: [listedSecret, revokedSecret],
  ListedClientSecrets: [{ object: 'list', data: [listedSecret], list_metadata: { before: null, after: null } }],
  ClientSecretsOfEnvironment: [
    { object: 'list', data: [listedSecret], list_metadata: { before: null, after: null } },
    [{ ...usedSecret, application_id: IDS.application }],
  ],
  CreateClientSecret: [
    { name: 'Production' },
    { name: 'Production', scopes: ['orders:read'], allowed_ips: ['203.0.113.0/24', '2001:db8::/32'] },
  ],
  UpdateClientSecret: [{ disabled: true }],
  RotateClientSecrets: [{ grace_period_seconds: 3600 }],
  VerifyClientSecret: [{ client_secret: PLAINTEXT, client_id: IDS.client }],
  Verification: [{ valid: true, client_secret: usedSecret, application }, { valid: false }],
  Environment: [environment],
  UpdateEnvironment: [{ leak_reaction: 'revoke', max_lifetime_days: 365 }],
  ReportLeak: [{ credential: PLAINTEXT, source: 'https://paste.example/b7kq' }],
  AcceptedLeak: [{ status: 'accepted' }],
  Event: [event, eventOfPerson],
  EventList: [{ object: 'list', data: [event], list_metadata: { before: null, after: null } }],
  ErrorBody: [
    {
      message: 'The request has invalid parameters.',
      code: 'invalid_request_parameters',
      errors: [{ field: 'name', code: 'name_blank', message: 'name must not be blank.' }],
    },
    {
      message: 'The object was not found in this environment.',
      code: 'entity_not_found',
      entity_id: IDS.secret,
    },
    {
      message: 'The database did not respond in time.',
      code: 'service_unavailable',
      regions: [
        { region: '0', binding: 'DB', status: 'ok' },
        { region: '1', binding: 'DB_WEUR', status: 'unavailable', message: 'The database did not respond in time.' },
      ],
    },
  ],
  OAuthError: [{ error: 'invalid_client', error_description: 'Client authentication failed.' }],
  TokenRequest: [{ grant_type: 'client_credentials', scope: 'orders:read' }],
  TokenResponse: [{ access_token: ACCESS_TOKEN, token_type: 'bearer', expires_in: 3600, scope: 'orders:read' }],
  IntrospectionRequest: [{ token: ACCESS_TOKEN }],
  Introspection: [{ active: true, token_type: 'bearer', ...claims }, { active: false }],
  ServerMetadata: [serverMetadataOf(ISSUER)],
  OpenIdConfiguration: [openIdConfigurationOf(ISSUER, ['ES256'])],
  PublishedKeys: [
    {
      keys: [
        {
          kty: 'EC',
          kid: 'QWLlGGwEWyJAiRXfeG0DHYMBm1tdzPYP',
          alg: 'ES256',
          use: 'sig',
          crv: 'P-256',
          x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
          y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
        },
      ],
    },
  ],
  Health: [{ status: 'ok', version: '0.1.0' }],
  Readiness: [{ status: 'ok', version: '0.1.0', version_id: 'dc8dcd28-271b-4367-9840-6c244f84cb40' }],
}
