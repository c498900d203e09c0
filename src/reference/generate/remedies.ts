import type { DescribedError } from './errors.ts'

/** The next step after each error. The key is the name of the error in the components of the OpenAPI document. */
const REMEDIES: Readonly<Record<string, string>> = {
  malformed_request: 'Correct the body: one JSON object, in UTF-8.',
  unauthorized:
    'Send a valid API key. It may be misspelled, revoked, expired, not allowed from this IP address, or of another deployment: the response does not say which.',
  forbidden: 'Use an API key with the access or the permission that the call names.',
  https_required: 'Use https, and replace every credential that was sent by http.',
  invalid_signature:
    'Send one credential in an object, which needs no signature. Only GitHub’s secret scanning sends arrays.',
  not_found: 'Correct the path.',
  entity_not_found:
    'Check the ID, and that the API key belongs to the same environment. The object may be deleted or revoked.',
  method_not_allowed: 'Use a method of the `Allow` header.',
  payload_too_large: 'Send at most 64 KiB.',
  unsupported_media_type: 'Send `Content-Type: application/json`, without a `Content-Encoding`.',
  invalid_request_parameters: 'Correct the parameters that `errors` names.',
  invalid_idempotency_key: 'Use a UUID as the key.',
  idempotency_key_reused: 'Use a new `Idempotency-Key` for each new request, and the same one for its retries only.',
  client_secret_revoked: 'Create another secret with a new `Idempotency-Key`.',
  client_secret_disabled: 'Enable the secret, or create another with a new `Idempotency-Key`.',
  client_secret_expired: 'Create another secret.',
  application_deleted: 'Create another application with a new `Idempotency-Key`.',
  application_limit_reached: 'Delete an application, or have the operator raise the limit.',
  client_secret_limit_reached: 'Revoke a secret, or rotate: expiring secrets do not count.',
  environment_frozen: 'Have the operator or an administrator lift the freeze. A retry before that does not help.',
  rate_limit_exceeded: 'Wait for the seconds in `Retry-After`, then send the same request again.',
  internal_error:
    'Report the `X-Request-ID` to the operator. A retry is safe, for a POST with the same `Idempotency-Key`.',
  service_unavailable:
    'If the message says that a retry can help: wait for the seconds in `Retry-After`, then send the same request again, a POST with the same `Idempotency-Key`.',
  oauth_invalid_request:
    'Send a form (`Content-Type: application/x-www-form-urlencoded`) with each parameter once, and one kind of client authentication.',
  oauth_invalid_client:
    'Check the client ID and the secret. The secret may be revoked, disabled or expired, not allowed from this IP address, or its application deleted: the response does not say which.',
  oauth_unauthorized_client: 'Use an application of type `m2m`.',
  oauth_unsupported_grant_type: 'Send `grant_type=client_credentials`.',
  oauth_invalid_scope: 'Ask only for scopes of the application, or leave `scope` out to get all of them.',
  oauth_not_found: 'Correct the path.',
  oauth_method_not_allowed: 'Use a method of the `Allow` header.',
  oauth_https_required: 'Use https, and replace every credential that was sent by http.',
  oauth_payload_too_large: 'Send at most 64 KiB.',
  oauth_unsupported_media_type: 'Send the form without a `Content-Encoding`.',
  oauth_rate_limit_exceeded: 'Wait for the seconds in `Retry-After`, then send the same request again.',
  oauth_internal_error: 'Report the `X-Request-ID` to the operator. A retry is safe.',
  oauth_service_unavailable: 'Wait for the seconds in `Retry-After`, then send the same request again.',
}

/** Returns the remedy of an error. Throws if there is none, so that every new error must have one. */
export function remedyOf({ name }: DescribedError): string {
  const remedy = REMEDIES[name]
  if (remedy === undefined) throw new Error(`remedies.ts has no remedy for ${name}`)
  return remedy
}
