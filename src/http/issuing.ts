import { type IssuedCredential, issueCredential } from '../credential/credential.ts'
import { deriveEntropy } from '../credential/derivation.ts'
import { newId } from '../credential/id.ts'
import type { Change } from '../storage/caller.ts'
import type { Derivation, KeyedRequest } from '../storage/idempotency.ts'
import type { ApiCaller, SessionCaller } from './context.ts'
import { readSettings } from './settings.ts'

/** A new client secret, before it is stored: the only value with the plaintext. */
export interface NewSecret extends IssuedCredential {
  readonly id: string
}

/** Makes a client secret from random bytes; for a request with an Idempotency-Key from bytes that it can derive again. */
export async function newClientSecret(
  env: Env,
  caller: ApiCaller | SessionCaller,
  change: Change,
  request: KeyedRequest | null,
): Promise<NewSecret> {
  const id = newId('secret', change.now, caller.region)
  const issued =
    request && 'apiKey' in caller
      ? await deriveClientSecret(caller, request, request)
      : await issueCredential(readSettings(env).CLIENT_SECRET_PREFIX, caller.region)
  return { id, ...issued }
}

/** Derives the secret of a request, now or again: a replay takes the salt and the prefix of the first attempt. */
export async function deriveClientSecret(
  { apiKey, region }: ApiCaller,
  { requestDigest }: KeyedRequest,
  { salt, prefix }: Derivation,
): Promise<IssuedCredential> {
  return issueCredential(prefix, region, await deriveEntropy(apiKey, salt, requestDigest))
}
