import {
  GenericServerException,
  NotFoundException,
  UnauthorizedException,
  UnprocessableEntityException,
  type WorkOS,
} from '@workos-inc/node'
import { beforeAll, describe, expect, test } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { newApiKey } from '../operator.ts'
import { ORGANIZATION } from '../requests.ts'
import { serve } from '../served.ts'
import { workosAt } from './workos.ts'

const served = await serve()
const { fetch, origins, database } = served
const { apiKey, environmentId } = await newApiKey(database)

function workosAs(key: string, fetchThrough = fetch): WorkOS {
  return workosAt(origins[0], key, { fetch: fetchThrough })
}

/** The request ID of the response, which the SDK's error must carry. */
const REQUEST_ID = expect.stringMatching(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/)

const { connect } = workosAs(apiKey)

type Call = (workos: WorkOS, id: string) => Promise<unknown>

/** Every Connect method that is served. */
const READS: Record<string, Call> = {
  listApplications: ({ connect }) => connect.listApplications(),
  getApplication: ({ connect }, id) => connect.getApplication({ id }),
  listApplicationClientSecrets: ({ connect }, id) => connect.listApplicationClientSecrets({ id }),
}
const WRITES: Record<string, Call> = {
  createApplication: ({ connect }) => connect.createM2MApplication('Name', ORGANIZATION),
  updateApplication: ({ connect }, id) => connect.updateApplication({ id, name: 'Name' }),
  deleteApplication: ({ connect }, id) => connect.deleteApplication({ id }),
  createApplicationClientSecret: ({ connect }, id) => connect.createApplicationClientSecret({ id }),
  deleteClientSecret: ({ connect }, id) => connect.deleteClientSecret({ id }),
}
const ALL = Object.entries({ ...READS, ...WRITES })

/** Fails unless a call throws the SDK's error of this class, with these values. */
async function expectError<E extends Error>(
  call: Promise<unknown>,
  type: new (...args: never[]) => E,
  values: Partial<E>,
): Promise<void> {
  const error = await call.then(
    (value) => expect.fail(`answered ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  )
  expect(error, String(error)).toBeInstanceOf(type)
  expect(error).toMatchObject(values)
}

test.each(ALL)('%s throws UnauthorizedException for an unknown API key', async (_, call) => {
  const { plaintext } = await issueCredential('sk', '0')
  for (const key of [plaintext, 'sk_example']) {
    await expectError(call(workosAs(key), 'conn_app_1'), UnauthorizedException, {
      status: 401,
      message: 'Could not authorize the request. Maybe your API key is invalid?',
      requestID: REQUEST_ID,
    })
  }
})

test.each(Object.entries(WRITES))('%s throws 403 for a read-only API key', async (_, call) => {
  const { apiKey: reader } = await newApiKey(database, { access: 'read', environmentId })
  await expectError(call(workosAs(reader), 'conn_app_1'), GenericServerException, {
    status: 403,
    message:
      'This API key does not allow this. Nothing was changed. Use a key with the access or the permission for it.',
    code: 'forbidden',
    requestID: REQUEST_ID,
  })
})

test.each(ALL.filter(([, call]) => call.length === 2))(
  '%s throws NotFoundException for an unknown or malformed ID, and for one of another environment',
  async (_, call) => {
    const other = await workosAs((await newApiKey(database)).apiKey).connect.createM2MApplication('Other', ORGANIZATION)
    for (const id of ['conn_app_01HXYZ123456789ABCDEFGHIJK', other.id, 'no such/thing?#%', '%zz', '😀'.repeat(60)]) {
      await expectError(call(workosAs(apiKey), id), NotFoundException, {
        status: 404,
        message: 'The object was not found in this environment.',
        code: 'entity_not_found',
        requestID: REQUEST_ID,
      })
    }
  },
)

describe('errors with status 422', () => {
  let application: string
  beforeAll(async () => {
    application = (await connect.createM2MApplication('Nightly export', ORGANIZATION)).id
  })

  test('the error for invalid parameters lists the code of each requirement', async () => {
    const scopes = ['a', 'a']
    await expectError(
      workosAs(apiKey).connect.createApplication({
        applicationType: 'm2m',
        name: ' ',
        scopes,
        organizationId: 'acme',
      }),
      UnprocessableEntityException,
      {
        status: 422,
        code: 'invalid_request_parameters',
        message:
          'The following requirements must be met:\n\tname_blank\n\tscopes_repeated\n\torganization_id_malformed\n',
        requestID: REQUEST_ID,
      },
    )
    await expectError(
      workosAs(apiKey).connect.updateApplication({
        id: application,
        redirectUris: [{ uri: 'https://a.example/' }],
      }),
      UnprocessableEntityException,
      {
        code: 'invalid_request_parameters',
        message: 'The following requirement must be met:\n\tredirect_uris_not_allowed\n',
        requestID: REQUEST_ID,
      },
    )
    await expectError(workosAs(apiKey).connect.listApplications({ limit: 101 }), UnprocessableEntityException, {
      code: 'invalid_request_parameters',
      message: 'The following requirement must be met:\n\tlimit_out_of_range\n',
      requestID: REQUEST_ID,
    })
    for (const [cursors, code] of [
      [{ after: 'conn_app_1' }, 'after_unknown'],
      [{ before: 'conn_app_1' }, 'before_unknown'],
      [{ after: 'conn_app_1', before: 'conn_app_1' }, 'before_with_after'],
    ] as const) {
      await expectError(workosAs(apiKey).connect.listApplications(cursors), UnprocessableEntityException, {
        message: `The following requirement must be met:\n\t${code}\n`,
        requestID: REQUEST_ID,
      })
    }
  })

  test('the error at the limit of active secrets has its code and message', async () => {
    const { id } = await connect.createM2MApplication('Full', ORGANIZATION)
    for (let i = 0; i < 5; i++) await connect.createApplicationClientSecret({ id })
    await expectError(workosAs(apiKey).connect.createApplicationClientSecret({ id }), UnprocessableEntityException, {
      status: 422,
      code: 'client_secret_limit_reached',
      message: 'The application has reached its limit of active client secrets. Nothing was changed. Revoke one first.',
      requestID: REQUEST_ID,
    })
  })

  test('the errors for a reused Idempotency-Key, and for a replay of a revoked secret, have their codes and messages', async () => {
    const idempotencyKey = crypto.randomUUID()
    const workos = workosAs(apiKey)
    const path = `/connect/applications/${application}/client_secrets`
    const { data } = await workos.post<{ id: string }, object>(path, {}, { idempotencyKey })
    await expectError(workos.post(path, { other: true }, { idempotencyKey }), UnprocessableEntityException, {
      code: 'idempotency_key_reused',
      message:
        'This Idempotency-Key was used for a different request within the last hour. Nothing was changed. Use a new key for a new request.',
      requestID: REQUEST_ID,
    })
    await workos.connect.deleteClientSecret({ id: data.id })
    await expectError(workos.post(path, {}, { idempotencyKey }), UnprocessableEntityException, {
      code: 'client_secret_revoked',
      message:
        'The client secret that this request created has since been revoked. Use a new Idempotency-Key to create another.',
      requestID: REQUEST_ID,
    })
  })
})

describe('invalid requests that the SDK sends only if it is forced to', () => {
  /** Loses the first byte of each body on the way. */
  const truncating: typeof fetch = (input, init) => fetch(input, { ...init, body: String(init?.body).slice(1) })

  test.each<[number, string, (workos: WorkOS) => Promise<unknown>, typeof fetch?]>([
    [400, 'malformed_request', (workos) => workos.connect.createM2MApplication('Name', ORGANIZATION), truncating],
    [405, 'method_not_allowed', (workos) => workos.put('/connect/applications', {})],
    [413, 'payload_too_large', (workos) => workos.connect.createM2MApplication('a'.repeat(64 * 1024), ORGANIZATION)],
    [
      415,
      'unsupported_media_type',
      (workos) => workos.post('/connect/applications', new URLSearchParams({ name: 'a' })),
    ],
  ])(
    'the SDK throws an error with the status %i, the code %s and a message',
    async (status, code, call, fetchThrough) => {
      await expectError(call(workosAs(apiKey, fetchThrough)), GenericServerException, {
        status,
        code,
        message: expect.stringMatching(/^[A-Z].*\.$/),
        requestID: REQUEST_ID,
      })
    },
  )

  test('the SDK throws NotFoundException for a route of WorkOS that Oncekey does not have', async () => {
    await expectError(workosAs(apiKey).organizations.getOrganization(ORGANIZATION), NotFoundException, {
      message: 'This route does not exist. The API reference is at /docs.',
      code: 'not_found',
      requestID: REQUEST_ID,
    })
  })
})
