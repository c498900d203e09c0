import { type IssuedCredential, issueCredential } from '../credential/credential.ts'
import { deriveEntropy } from '../credential/derivation.ts'
import { newId } from '../credential/id.ts'
import type { Change } from '../storage/caller.ts'
import type { Derivation, KeyedRequest } from '../storage/idempotency.ts'
import type { NewClientSecret } from '../storage/issuing.ts'
import type { ApiCaller, SessionCaller } from './context.ts'
import { readSettings } from './settings.ts'

interface IssuedSecret {
  /** Storage never receives it. */
  readonly plaintext: string
  readonly row: Pick<NewClientSecret, 'id' | 'digest' | 'hint'>
}

/** Makes a client secret from random bytes; for a request with an Idempotency-Key from bytes that it can derive again. */
export async function newClientSecret(
  env: Env,
  caller: ApiCaller | SessionCaller,
  change: Change,
  request: KeyedRequest | null,
): Promise<IssuedSecret> {
  const { plaintext, digest, hint } =
    request && 'apiKey' in caller
      ? await deriveClientSecret(caller, request, request)
      : await issueCredential(readSettings(env).CLIENT_SECRET_PREFIX, caller.region)
  return { plaintext, row: { id: newId('secret', change.now, caller.region), digest, hint } }
}

/** Derives the secret of a request, now or again: a replay takes the salt and the prefix of the first attempt. */
export async function deriveClientSecret(
  { apiKey, region }: ApiCaller,
  { requestDigest }: KeyedRequest,
  { salt, prefix }: Derivation,
): Promise<IssuedCredential> {
  return issueCredential(prefix, region, await deriveEntropy(apiKey, salt, requestDigest))
}
