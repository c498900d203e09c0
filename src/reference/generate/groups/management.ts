import * as schemas from '../../../contract/applications.ts'
import * as secretSchemas from '../../../contract/client-secrets.ts'
import { ErrorBody } from '../../../contract/rules.ts'
import type { Group } from '../operation.ts'

/** Sent by some SDKs as `{}`, by others not at all. */
const optional = (schema: string) => ({ schema, isRequired: false })
const required = (schema: string) => ({ schema, isRequired: true })

export const applications: Group = {
  name: 'Applications',
  description: 'What client secrets belong to: a program of yours, or of somebody who integrates with you.',
  manner: 'api',
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
      description: 'Machine-to-machine (`m2m`), or one that signs people in (`oauth`).',
      caller: 'write',
      body: required('CreateApplication'),
      takesIdempotencyKey: true,
      success: { status: 201, description: 'The application.', schema: 'Application' },
    },
    'GET /connect/applications': {
      id: 'listApplications',
      summary: 'List applications',
      description: 'By page, newest first unless asked otherwise.',
      caller: 'read',
      query: 'ListApplications',
      success: { status: 200, description: 'A page.', schema: 'ApplicationList' },
    },
    'GET /connect/applications/{id}': {
      id: 'getApplication',
      summary: 'Get an application',
      description: 'By its id, or by its client id.',
      caller: 'read',
      success: { status: 200, description: 'The application.', schema: 'Application' },
    },
    'PUT /connect/applications/{id}': {
      id: 'updateApplication',
      summary: 'Update an application',
      description: 'What is absent stays as it is.',
      caller: 'write',
      body: optional('UpdateApplication'),
      success: { status: 200, description: 'The application as it is now.', schema: 'Application' },
    },
    'DELETE /connect/applications/{id}': {
      id: 'deleteApplication',
      summary: 'Delete an application',
      description: 'Its client secrets stop working, and so do their tokens at introspection. A repeat is 204 too.',
      caller: 'write',
      success: { status: 204, description: 'Deleted.' },
    },
  },
}

export const clientSecrets: Group = {
  name: 'Client secrets',
  description:
    'Shown once, kept as a digest. What lists and events tell of a secret is its hint: the last six characters.',
  manner: 'api',
  schemas: {
    ClientSecret: secretSchemas.ClientSecret,
    IssuedClientSecret: secretSchemas.IssuedClientSecret,
    ClientSecretList: secretSchemas.ClientSecretList,
    FoundClientSecrets: secretSchemas.FoundClientSecrets,
    CreateClientSecret: secretSchemas.CreateClientSecret,
    UpdateClientSecret: secretSchemas.UpdateClientSecret,
    RotateClientSecrets: secretSchemas.RotateClientSecrets,
    FindClientSecrets: secretSchemas.FindClientSecrets,
    VerifyClientSecret: secretSchemas.VerifyClientSecret,
    Verification: secretSchemas.Verification,
    ErrorBody,
  },
  routes: {
    'POST /connect/applications/{id}/client_secrets': {
      id: 'createClientSecret',
      summary: 'Create a client secret',
      description: 'The answer has the secret itself, this once. The body may be empty.',
      caller: 'write',
      body: optional('CreateClientSecret'),
      takesIdempotencyKey: true,
      success: { status: 201, description: 'The new secret, with its plaintext.', schema: 'IssuedClientSecret' },
      refusals: ['client_secret_limit_reached', 'client_secret_revoked'],
    },
    'POST /connect/applications/{id}/client_secrets/rotate': {
      id: 'rotateClientSecrets',
      summary: 'Rotate client secrets',
      description:
        'Creates a secret, and lets every other one of the application expire after the grace period. Those do not count against the limit any more.',
      caller: 'write',
      body: optional('RotateClientSecrets'),
      takesIdempotencyKey: true,
      success: { status: 201, description: 'The new secret, with its plaintext.', schema: 'IssuedClientSecret' },
      refusals: ['client_secret_revoked'],
    },
    'GET /connect/applications/{id}/client_secrets': {
      id: 'listClientSecrets',
      summary: 'List client secrets',
      description: 'The live ones of an application, oldest first, all on one page.',
      caller: 'read',
      success: { status: 200, description: 'An array, empty where there is none.', schema: 'ClientSecretList' },
    },
    'DELETE /connect/applications/{id}/client_secrets': {
      id: 'revokeAllClientSecrets',
      summary: 'Revoke all client secrets',
      description: 'Every one that the application has, at once and for good. A repeat is 204 too.',
      caller: 'write',
      success: { status: 204, description: 'Revoked.' },
    },
    'GET /connect/client_secrets': {
      id: 'findClientSecrets',
      summary: 'Find a client secret by its hint',
      description: 'Which live secrets of this environment end so: for whoever has found one where it should not be.',
      caller: 'read',
      query: 'FindClientSecrets',
      success: { status: 200, description: 'An array, empty where there is none.', schema: 'FoundClientSecrets' },
    },
    'GET /connect/client_secrets/{id}': {
      id: 'getClientSecret',
      summary: 'Get a client secret',
      description: 'Without its plaintext, which nobody has.',
      caller: 'read',
      success: { status: 200, description: 'The secret.', schema: 'ClientSecret' },
    },
    'PATCH /connect/client_secrets/{id}': {
      id: 'updateClientSecret',
      summary: 'Update a client secret',
      description: 'Names it, lets it expire or not, switches it off or on. What is absent stays as it is.',
      caller: 'write',
      body: optional('UpdateClientSecret'),
      success: { status: 200, description: 'The secret as it is now.', schema: 'ClientSecret' },
      refusals: ['client_secret_expired', 'client_secret_limit_reached'],
    },
    'DELETE /connect/client_secrets/{id}': {
      id: 'revokeClientSecret',
      summary: 'Revoke a client secret',
      description: 'At once and for good. A repeat is 204 too.',
      caller: 'write',
      success: { status: 204, description: 'Revoked.' },
    },
    'POST /connect/client_secrets/verify': {
      id: 'verifyClientSecret',
      summary: 'Verify a client secret',
      description:
        'For programs that are shown a client secret themselves. Counts as use. Whatever is wrong with the secret, the answer is `{"valid": false}`.',
      caller: 'read',
      body: required('VerifyClientSecret'),
      success: { status: 200, description: 'Whether it is good, and whose it is.', schema: 'Verification' },
    },
  },
}
