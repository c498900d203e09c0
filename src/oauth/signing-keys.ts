import { importJWK, type JSONWebKeySet } from 'jose'
import * as v from 'valibot'
import { publicHalf, SIGNING_ALGORITHMS, type SigningAlgorithm } from '../credential/signing-key.ts'

declare global {
  /** Worker secrets, made by `npm run signing-key`. They are not in wrangler.toml, where a first deploy would ask for them. */
  interface Env {
    /** A private JWK with `kid` and `alg`: signs access tokens. */
    readonly SIGNING_KEY?: string
    /** A JWK Set: the public keys that are published besides the signing key's own. */
    readonly PUBLISHED_KEYS?: string
  }
}

export interface SigningKeys {
  readonly algorithm: SigningAlgorithm
  readonly kid: string
  readonly privateKey: CryptoKey
  /** The signing key's public half, and what a rotation under way publishes besides. */
  readonly published: JSONWebKeySet
  /** The same keys, by their `kid`: what a token may be signed with. */
  readonly verifying: ReadonlyMap<string, CryptoKey>
}

const SigningKey = v.pipe(
  v.string(),
  v.parseJson(),
  v.looseObject({
    kid: v.pipe(v.string(), v.nonEmpty()),
    alg: v.picklist(SIGNING_ALGORITHMS),
    kty: v.picklist(['RSA', 'EC']),
    d: v.string(),
  }),
)
const PublishedKeys = v.pipe(
  v.optional(v.string(), '{"keys":[]}'),
  v.parseJson(),
  v.object({ keys: v.array(v.looseObject({ kid: v.string(), alg: v.picklist(SIGNING_ALGORITHMS) })) }),
)

let imported: { readonly source: string; readonly keys: Promise<SigningKeys> } | undefined

/** The keys of this deployment, imported once per isolate. Throws where there is none, or what is there is no key. */
export function signingKeys(env: Env): Promise<SigningKeys> {
  const source = `${env.SIGNING_KEY}\n${env.PUBLISHED_KEYS}`
  if (imported?.source !== source) imported = { source, keys: importKeys(env) }
  return imported.keys
}

async function importKeys(env: Env): Promise<SigningKeys> {
  const own = v.safeParse(SigningKey, env.SIGNING_KEY)
  const others = v.safeParse(PublishedKeys, env.PUBLISHED_KEYS)
  if (!own.success) throw new Error('SIGNING_KEY is not set, or is no private JWK: run `npm run signing-key -- create`')
  if (!others.success) throw new Error('PUBLISHED_KEYS is no JWK Set: run `npm run signing-key -- status`')
  const { kid, alg: algorithm } = own.output
  const privateKey = (await importJWK(own.output, algorithm)) as CryptoKey
  const keys = [own.output, ...others.output.keys.filter((key) => key.kid !== kid)].map(publicHalf)
  const imported = keys.map(async (key) => [String(key.kid), (await importJWK(key)) as CryptoKey] as const)
  return { algorithm, kid, privateKey, published: { keys }, verifying: new Map(await Promise.all(imported)) }
}
