import * as schemas from '../../contract/applications.ts'
import * as secretSchemas from '../../contract/client-secrets.ts'
import * as environmentSchemas from '../../contract/environments.ts'
import * as eventSchemas from '../../contract/events.ts'
import * as inventorySchemas from '../../contract/inventory.ts'
import * as leakSchemas from '../../contract/leaks.ts'
import { ErrorBody } from '../../contract/rules.ts'
import type { Group } from './operation.ts'

/** A body that callers may omit, because some SDKs send `{}`, and others send no body. */
const optional = (schema: string) => ({ schema, isRequired: false })
const required = (schema: string) => ({ schema, isRequired: true })

export const applications: Group = {
  name: 'Applications',
  description: 'An application owns client secrets. It is one of your own programs, or an integrator’s.',
  errorStyle: 'api',
  schemas: {
    Application: schemas.Application,
    ApplicationList: schemas.ApplicationList,
    CreateApplication: schemas.CreateApplication,
    UpdateApplication: schemas.UpdateApplication,
    ListApplications: schemas.ListApplications,
  },
  routes: {
    'POST /connect/applications': {
      id: 'createApplication',
      summary: 'Create an application',
      description: 'Creates a machine-to-machine application (`m2m`), or one that signs people in (`oauth`).',
      caller: 'applications:write',
      body: required('CreateApplication'),
      takesIdempotencyKey: true,
      errors: ['application_deleted', 'application_limit_reached'],
      success: { status: 201, description: 'The new application.', schema: 'Application' },
    },
    'GET /connect/applications': {
      id: 'listApplications',
      summary: 'List applications',
      description: 'Returns one page of applications, newest first by default.',
      caller: 'secrets:read',
      query: 'ListApplications',
      success: { status: 200, description: 'One page of applications.', schema: 'ApplicationList' },
    },
    'GET /connect/applications/{id}': {
      id: 'getApplication',
      summary: 'Get an application',
      description: 'Finds the application by its ID or by its client ID.',
      caller: 'secrets:read',
      success: { status: 200, description: 'The application.', schema: 'Application' },
    },
    'PUT /connect/applications/{id}': {
      id: 'updateApplication',
      summary: 'Update an application',
      description:
        'Changes the members that the body contains. The other members keep their values. A frozen environment adds no scopes.',
      caller: 'applications:write',
      body: optional('UpdateApplication'),
      success: { status: 200, description: 'The application after the change.', schema: 'Application' },
      errors: ['environment_frozen'],
    },
    'DELETE /connect/applications/{id}': {
      id: 'deleteApplication',
      summary: 'Delete an application',
      description:
        'Deletes the application and revokes its client secrets. Introspection reports their tokens as inactive at once; services that verify tokens offline accept them until they expire. This can’t be undone. A repeated call returns 204 too.',
      caller: 'applications:write',
      success: { status: 204, description: 'The application is deleted.' },
    },
  },
}

export const clientSecrets: Group = {
  name: 'Client secrets',
  description:
    'Oncekey shows a client secret once and stores its SHA-256 digest. Lists and events identify a secret by its ID and its hint, the last six characters.',
  errorStyle: 'api',
  schemas: {
    ClientSecret: secretSchemas.ClientSecret,
    IssuedClientSecret: secretSchemas.IssuedClientSecret,
    ClientSecretList: secretSchemas.ClientSecretList,
    FoundClientSecrets: secretSchemas.FoundClientSecrets,
    CreateClientSecret: secretSchemas.CreateClientSecret,
    UpdateClientSecret: secretSchemas.UpdateClientSecret,
    RotateClientSecrets: secretSchemas.RotateClientSecrets,
    ListClientSecrets: inventorySchemas.ListClientSecrets,
    ListedClientSecret: inventorySchemas.ListedClientSecret,
    ListedClientSecrets: inventorySchemas.ListedClientSecrets,
    ClientSecretsOfEnvironment: inventorySchemas.ClientSecretsOfEnvironment,
    VerifyClientSecret: secretSchemas.VerifyClientSecret,
    Verification: secretSchemas.Verification,
    ErrorBody,
  },
  routes: {
    'POST /connect/applications/{id}/client_secrets': {
      id: 'createClientSecret',
      summary: 'Create a client secret',
      description: 'Returns the plaintext in `secret`. No other call returns it. The body may be empty.',
      caller: 'secrets:write',
      body: optional('CreateClientSecret'),
      takesIdempotencyKey: true,
      success: { status: 201, description: 'The new secret, with its plaintext.', schema: 'IssuedClientSecret' },
      errors: [
        'environment_frozen',
        'client_secret_limit_reached',
        'client_secret_revoked',
        'client_secret_disabled',
        'client_secret_expired',
        'application_deleted',
      ],
    },
    'POST /connect/applications/{id}/client_secrets/rotate': {
      id: 'rotateClientSecrets',
      summary: 'Rotate client secrets',
      description:
        'Creates a secret and expires the application’s other secrets at the end of the grace period. The new secret has the scopes and IP ranges of the latest secret that works. Expiring secrets do not count against the limit.',
      caller: 'secrets:write',
      body: optional('RotateClientSecrets'),
      takesIdempotencyKey: true,
      success: { status: 201, description: 'The new secret, with its plaintext.', schema: 'IssuedClientSecret' },
      errors: [
        'environment_frozen',
        'client_secret_revoked',
        'client_secret_disabled',
        'client_secret_expired',
        'application_deleted',
      ],
    },
    'GET /connect/applications/{id}/client_secrets': {
      id: 'listClientSecrets',
      summary: 'List client secrets',
      description:
        'Returns all secrets of an application that are neither revoked nor expired, oldest first, without pages.',
      caller: 'secrets:read',
      success: { status: 200, description: 'An array, which may be empty.', schema: 'ClientSecretList' },
    },
    'DELETE /connect/applications/{id}/client_secrets': {
      id: 'revokeAllClientSecrets',
      summary: 'Revoke all client secrets',
      description:
        'Revokes every secret of the application. After the 204, no request is authenticated with one of them. This can’t be undone. A repeated call returns 204 too.',
      caller: 'secrets:write',
      success: { status: 204, description: 'All secrets are revoked.' },
    },
    'GET /connect/client_secrets': {
      id: 'listAllClientSecrets',
      summary: 'List or find client secrets of the environment',
      description:
        'Returns one page of all client secrets, newest first by default. Expired and revoked secrets stay in the list for 90 days. A page may have fewer secrets than `limit`, or none, although more follow: continue while `after` is not null. With `hint` as the only parameter, which must then have six characters, the result is an array of the secrets that end in it and are neither revoked nor expired.',
      caller: 'secrets:read',
      query: 'ListClientSecrets',
      success: {
        status: 200,
        description: 'One page of client secrets; with `hint` alone, an array.',
        schema: 'ClientSecretsOfEnvironment',
      },
    },
    'GET /connect/client_secrets/{id}': {
      id: 'getClientSecret',
      summary: 'Get a client secret',
      description: 'Returns the secret without its plaintext. A revoked secret is not found.',
      caller: 'secrets:read',
      success: { status: 200, description: 'The secret.', schema: 'ClientSecret' },
    },
    'PATCH /connect/client_secrets/{id}': {
      id: 'updateClientSecret',
      summary: 'Update a client secret',
      description:
        'Changes the name, the expiry, the scopes or the IP ranges, disables the secret or enables it. Members that the body does not contain keep their values. A frozen environment refuses what lets the secret do more or work for longer.',
      caller: 'secrets:write',
      body: optional('UpdateClientSecret'),
      success: { status: 200, description: 'The secret after the change.', schema: 'ClientSecret' },
      errors: ['environment_frozen', 'client_secret_expired', 'client_secret_limit_reached'],
    },
    'DELETE /connect/client_secrets/{id}': {
      id: 'revokeClientSecret',
      summary: 'Revoke a client secret',
      description:
        'After the 204, no request is authenticated with the secret, and introspection reports its tokens as inactive. Services that verify tokens offline accept them until they expire. This can’t be undone. A repeated call returns 204 too.',
      caller: 'secrets:write',
      success: { status: 204, description: 'The secret is revoked.' },
    },
    'POST /connect/client_secrets/verify': {
      id: 'verifyClientSecret',
      summary: 'Verify a client secret',
      description:
        'For services that receive client secrets directly. Always send `client_id`: without it, the secret of any application in the environment is valid. A wrong, revoked, disabled or expired secret gives `{"valid": false}`, and so does one that is used from an address outside its `allowed_ips`. A valid answer counts as a use.',
      caller: 'secrets:verify',
      body: required('VerifyClientSecret'),
      success: { status: 200, description: 'Whether the secret is valid.', schema: 'Verification' },
    },
  },
}

export const environments: Group = {
  name: 'Environment',
  description: 'The environment of the API key: its settings, and whether it is frozen.',
  errorStyle: 'api',
  schemas: {
    Environment: environmentSchemas.Environment,
    UpdateEnvironment: environmentSchemas.UpdateEnvironment,
  },
  routes: {
    'GET /connect/environment': {
      id: 'getEnvironment',
      summary: 'Get the environment',
      description: 'Returns the environment of the API key.',
      caller: 'read',
      success: { status: 200, description: 'The environment.', schema: 'Environment' },
    },
    'PATCH /connect/environment': {
      id: 'updateEnvironment',
      summary: 'Update the environment',
      description:
        'Changes the settings that the body contains, freezes the environment or lifts the freeze. The other settings keep their values. While the environment is frozen, no setting can be loosened.',
      caller: 'write',
      body: optional('UpdateEnvironment'),
      success: { status: 200, description: 'The environment after the change.', schema: 'Environment' },
      errors: ['environment_frozen'],
    },
  },
}

export const leaks: Group = {
  name: 'Leaks',
  description:
    'Anyone who finds a credential of Oncekey can report it: a client secret, an API key or a webhook signing secret. The environment decides what happens with it.',
  errorStyle: 'api',
  schemas: { ReportLeak: leakSchemas.ReportLeak, AcceptedLeak: leakSchemas.AcceptedLeak },
  routes: {
    'POST /leaks': {
      id: 'reportLeak',
      summary: 'Report a leaked credential',
      description:
        'The response is the same for every credential, also for one that does not exist. Oncekey keeps the time and the `source` of the first report, and nothing else of it. A repeated report changes nothing, unless the reaction of the environment still has to be made. GitHub’s secret scanning partner program sends an array of `{token, type, url, source}` with its signature here.',
      caller: 'public',
      body: required('ReportLeak'),
      errors: ['https_required', 'rate_limit_exceeded', 'invalid_signature', 'service_unavailable'],
      success: { status: 202, description: 'The report is accepted, whatever it contains.', schema: 'AcceptedLeak' },
    },
  },
}

export const events: Group = {
  name: 'Events',
  description: 'Every change in the environment is one event, in the order of the commits.',
  errorStyle: 'api',
  schemas: { Event: eventSchemas.Event, EventList: eventSchemas.EventList, ListEvents: eventSchemas.ListEvents },
  routes: {
    'GET /events': {
      id: 'listEvents',
      summary: 'List events',
      description:
        'Returns one page of events, oldest first by default. To read every event once, pass the ID of the last event you have seen as `after`.',
      caller: 'events:read',
      query: 'ListEvents',
      success: { status: 200, description: 'One page of events.', schema: 'EventList' },
    },
  },
}
