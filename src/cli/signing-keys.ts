import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { JWK } from 'jose'
import { newSigningKey, publicHalf, type SigningAlgorithm } from '../credential/signing-key.ts'
import { Failure, progress } from './command.ts'
import { deployedIssuer, type Platform } from './deployment.ts'
import { writePrivately } from './private-file.ts'
import type { Step } from './steps.ts'
import { reasonOf, root } from './wrangler.ts'

/** The Worker secrets by which it signs: a private JWK, and a JWK Set of what it publishes besides. */
export interface SigningSecrets {
  readonly SIGNING_KEY: string
  readonly PUBLISHED_KEYS: string
}

/** Beside the embedded database, for whoever runs `dev`. */
const localFile = (directory: string) => join(directory, '.signing-key.json')

export async function readLocalSigningSecrets(directory: string): Promise<SigningSecrets | null> {
  try {
    return JSON.parse(await readFile(localFile(directory), 'utf8'))
  } catch {
    return null
  }
}

/** Makes a key for `dev` to sign with. The keys that it takes the place of stay published. */
export async function makeLocalSigningSecrets(
  directory: string,
  algorithm: SigningAlgorithm,
  publishedKeys: JWK[] = [],
): Promise<SigningSecrets> {
  const secrets = secretsOf(await newSigningKey(algorithm), publishedKeys)
  await mkdir(directory, { recursive: true })
  await writePrivately(localFile(directory), JSON.stringify(secrets))
  return secrets
}

/** The keys that such secrets publish, the one that signs first. */
export function publishedBy({ SIGNING_KEY, PUBLISHED_KEYS }: SigningSecrets): JWK[] {
  const own: JWK = publicHalf(JSON.parse(SIGNING_KEY))
  const others: JWK[] = JSON.parse(PUBLISHED_KEYS).keys
  return [own, ...others.filter(({ kid }) => kid !== own.kid)]
}

/** Whether the deployed Worker has a key to sign with. There is none where there is no Worker. */
export async function hasSigningKey({ wrangler }: Pick<Platform, 'wrangler'>, worker: string): Promise<boolean> {
  const finished = await wrangler(['secret', 'list', '--name', worker, '--format', 'json'])
  if (finished.code === 0) return /"SIGNING_KEY"/.test(finished.stdout)
  const reason = reasonOf(finished)
  if (/does not exist|not found|code: 10007/i.test(reason)) return false
  throw new Failure(`Cloudflare does not tell which secrets the Worker has: ${reason}`)
}

/** Writes Worker secrets into a file for wrangler, for as long as it is used. */
export async function withSecretsFile<T>(
  secrets: Partial<SigningSecrets>,
  use: (file: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'oncekey-'))
  try {
    const file = join(folder, 'secrets.json')
    await writePrivately(file, JSON.stringify(secrets))
    return await use(file)
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Sets secrets of the deployed Worker, together. */
export async function putSecrets(
  { wrangler }: Pick<Platform, 'wrangler'>,
  worker: string,
  secrets: Partial<SigningSecrets>,
): Promise<void> {
  const finished = await withSecretsFile(secrets, (file) => wrangler(['secret', 'bulk', file, '--name', worker]))
  if (finished.code !== 0) throw new Failure(`The Worker's secrets could not be set: ${reasonOf(finished)}`)
}

/** Reads what the deployed Worker publishes, the key that signs first. */
export async function readPublishedKeys({ fetch }: Pick<Platform, 'fetch'>, url: string): Promise<JWK[]> {
  const response = await fetch(`${url}/oauth2/jwks`)
  if (response.status !== 200) {
    throw new Failure(
      `${url}/oauth2/jwks gave ${response.status}. \`npm run signing-key -- create --remote\` makes a key.`,
    )
  }
  return ((await response.json()) as { keys: JWK[] }).keys
}

/** Where the deployed Worker is reached. */
export async function urlOfDeployed(platform: Platform, worker: string, issuer: string): Promise<string> {
  const url = issuer || (await deployedIssuer(platform, { name: worker }))
  if (!url) throw new Failure('Nothing is deployed yet: `npm run deploy` does it, and makes a signing key.')
  return url
}

/** For how long caches may keep what is published: src/oauth/metadata.ts says so to them. */
const CACHE_MS = 300_000
const POLL_MS = 5_000
const PUBLISHED_WITHIN_MS = 120_000

/** How many keys stay published behind a new one: the last one signed what is still good, the one before may have. */
const KEPT_KEYS = 2

/** A new key that is not in use yet lies here: the Worker's secrets cannot be read back. */
export const PENDING_KEY = join(root, '.wrangler/signing-key.pending.json')

export interface RotationPlan {
  readonly worker: string
  readonly issuer: string
  readonly algorithm: SigningAlgorithm | undefined
  /** The key in use has leaked: nothing that it signed is to be trusted from now on. */
  readonly isLeaked: boolean
  readonly pendingKey: string
}

/**
 * Exchanges the key of the deployed Worker so that nobody meets a token whose key is not published: the new one is
 * published first, and signs when every cache has it; the old one stays published behind it.
 */
export function rotation(platform: Platform, plan: RotationPlan): { steps: Step[]; kid: () => string } {
  const { worker, pendingKey } = plan
  let url = ''
  let live: JWK[] = []
  let next: JWK = {}
  const isIn = () => live[0]?.kid === next.kid
  const prepare: Step[] = [
    {
      will: 'Read which keys are published',
      run: async () => {
        url = await urlOfDeployed(platform, worker, plan.issuer)
        live = await readPublishedKeys(platform, url)
        return live.map(({ kid, alg }) => `${kid} (${alg})`).join(', ')
      },
    },
    {
      will: 'Make a new one, or take up the one of a rotation that was stopped',
      run: async () => {
        next = await pending(pendingKey, plan.algorithm ?? (live[0]?.alg as SigningAlgorithm | undefined) ?? 'RS256')
        return `${next.kid} (${next.alg})`
      },
    },
  ]
  const publish: Step[] = [
    {
      will: 'Publish it beside those in use',
      run: async () => {
        if (live.some(({ kid }) => kid === next.kid)) return 'It is.'
        await putSecrets(platform, worker, { PUBLISHED_KEYS: keySet([...live.slice(0, KEPT_KEYS), next]) })
        return 'It is on its way.'
      },
    },
    {
      will: 'Wait until every cache of the published keys has it',
      run: async () => {
        if (isIn()) return 'They have.'
        await awaitPublished(platform, url, next)
        return 'They have.'
      },
    },
  ]
  const finish: Step[] = [
    {
      will: plan.isLeaked ? 'Sign with it, and publish no other' : 'Sign with it',
      run: async () => {
        const secrets = { SIGNING_KEY: JSON.stringify(next) }
        if (plan.isLeaked) await putSecrets(platform, worker, { ...secrets, PUBLISHED_KEYS: keySet([]) })
        else if (!isIn()) await putSecrets(platform, worker, secrets)
        await rm(pendingKey)
        return plan.isLeaked ? 'Tokens of the old one are refused within five minutes.' : 'It signs from now on.'
      },
    },
  ]
  return { steps: [...prepare, ...(plan.isLeaked ? [] : publish), ...finish], kid: () => String(next.kid) }
}

async function pending(file: string, algorithm: SigningAlgorithm): Promise<JWK> {
  const kept = await readFile(file, 'utf8').catch(() => null)
  if (kept !== null) return JSON.parse(kept)
  const key = await newSigningKey(algorithm)
  await mkdir(dirname(file), { recursive: true })
  await writePrivately(file, JSON.stringify(key))
  return key
}

async function awaitPublished(platform: Platform, url: string, { kid }: JWK): Promise<void> {
  for (let waited = 0; ; waited += POLL_MS) {
    const live = await readPublishedKeys(platform, url)
    if (live.some((key) => key.kid === kid)) break
    if (waited >= PUBLISHED_WITHIN_MS)
      throw new Failure(`${url}/oauth2/jwks does not show the new key after two minutes.`)
    await platform.sleep(POLL_MS)
  }
  for (let left = CACHE_MS; left > 0; left -= CACHE_MS / 10) {
    progress(`      ${left / 1000} s left`)
    await platform.sleep(CACHE_MS / 10)
  }
}

function secretsOf(signingKey: JWK, publishedKeys: JWK[]): SigningSecrets {
  return { SIGNING_KEY: JSON.stringify(signingKey), PUBLISHED_KEYS: keySet(publishedKeys) }
}

function keySet(keys: JWK[]): string {
  return JSON.stringify({ keys: keys.map(publicHalf) })
}
