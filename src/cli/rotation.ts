import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { JWK } from 'jose'
import * as v from 'valibot'
import {
  newSigningKey,
  type PublishedKey,
  SIGNING_ALGORITHMS,
  type SigningAlgorithm,
} from '../credential/signing-key.ts'
import { PUBLIC_CACHE_SECONDS } from '../http/settings.ts'
import { type Account, type Context, Failure, type Platform, type Step } from './command.ts'
import { putSecrets, readPublishedKeys, requireOneVersion, urlOfDeployed } from './platform.ts'
import { readPrivately, writePrivately } from './private-file.ts'
import { isPrivateKey, keySetOf, retire, secretsOf } from './signing-secrets.ts'
import { WRANGLER_FOLDER } from './wrangler.ts'

/**
 * The file with the new key of an unfinished rotation. It is needed because the secrets of a Worker cannot be read
 * back.
 */
export const PENDING_KEY_FILE = join(WRANGLER_FOLDER, 'signing-key.pending.json')

/** A rotation takes minutes. A saved key that is older than this is not used. */
const MAX_PENDING_MS = 24 * 60 * 60 * 1000

const CACHE_MS = PUBLIC_CACHE_SECONDS * 1000
const POLL_MS = 5_000
const PUBLISHED_WITHIN_MS = 120_000

export interface RotationPlan {
  readonly accountId: string | undefined
  readonly worker: string
  /** The setting ISSUER of wrangler.toml, or empty. */
  readonly issuer: string
  /** The algorithm of the new key; by default that of the key in use. */
  readonly algorithm: SigningAlgorithm | undefined
  readonly pendingFile: string
}

type Surroundings = Pick<Context, 'platform' | 'progress'>

/** The state that the steps share. */
interface Rotation {
  account: Account | null
  url: string
  live: PublishedKey[]
  next: JWK
}

/**
 * The steps that replace the signing key of the deployed Worker. `next` returns the new key after the steps have run.
 */
export function rotationSteps(
  context: Surroundings,
  plan: RotationPlan,
  isLeaked = false,
): { steps: Step[]; next: () => JWK } {
  const rotation: Rotation = { account: null, url: '', live: [], next: {} }
  const readKeys: Step = {
    title: 'Read the published keys',
    run: async () => {
      const account = await context.platform.login(plan.accountId)
      await requireOneVersion(account, plan.worker)
      rotation.account = account
      rotation.url = await urlOfDeployed(account, plan.worker, plan.issuer)
      rotation.live = await readPublishedKeys(context.platform, rotation.url)
      return rotation.live.map(describeKey).join(', ')
    },
  }
  const steps = (isLeaked ? leakedSteps : plannedSteps)(context, plan, rotation)
  return { steps: [readKeys, ...steps], next: () => rotation.next }
}

/**
 * Replaces the key without refusing a valid token. The new key is published first, and signs only after every cache of
 * the published keys has it. The old key stays published until its tokens have expired. After an interruption the next
 * run continues with the same new key, unless `problemOf` finds a problem with it.
 */
function plannedSteps({ platform, progress }: Surroundings, plan: RotationPlan, rotation: Rotation): Step[] {
  const { worker, pendingFile } = plan
  const isSigning = () => rotation.live[0]?.kid === rotation.next.kid
  return [
    {
      title: 'Create a new key, or continue with that of an interrupted rotation',
      run: async () => {
        const { url, live } = rotation
        const algorithm = plan.algorithm ?? algorithmOf(live)
        const now = platform.now()
        const pending = await readPending(pendingFile)
        const problem = pending && problemOf(pending, { worker, url, algorithm, live, now })
        if (pending !== null && pending !== 'damaged' && problem === null) {
          rotation.next = pending.key as JWK
          return `Continuing with ${describeKey(rotation.next)}.`
        }
        rotation.next = await newSigningKey(algorithm)
        const saved: Pending = { worker, url, created_at: now, key: rotation.next as Pending['key'] }
        await writePrivately(pendingFile, JSON.stringify(saved))
        return `${problem ? `The saved key is not used: ${problem}. ` : ''}Created ${describeKey(rotation.next)}.`
      },
    },
    {
      title: 'Publish the new key beside the key in use',
      run: async () => {
        if (rotation.live.some(({ kid }) => kid === rotation.next.kid)) return 'It is published.'
        await putSecrets(rotation.account as Account, worker, {
          PUBLISHED_KEYS: keySetOf([...rotation.live, rotation.next]),
        })
        return 'Sent to Cloudflare.'
      },
    },
    {
      title: 'Wait until every cache of the published keys has the new key',
      run: async () => {
        if (isSigning()) return 'Every cache has it.'
        await awaitPublished(platform, rotation.url, rotation.next)
        for (let left = CACHE_MS; left > 0; left -= CACHE_MS / 10) {
          progress(`      ${left / 1000} s left`)
          await platform.sleep(CACHE_MS / 10)
        }
        return 'Every cache has it.'
      },
    },
    {
      title: 'Sign with the new key',
      run: async () => {
        const wasSigning = isSigning()
        const { live, next } = rotation
        if (!wasSigning)
          await putSecrets(rotation.account as Account, worker, secretsOf(next, retire(live, next, platform.now())))
        await rm(pendingFile, { force: true })
        return wasSigning
          ? 'The interrupted rotation had already taken effect: the new key signs.'
          : 'It signs from now on.'
      },
    },
  ]
}

/**
 * Replaces a leaked key. A saved key may have leaked as well, so it is not used. No other key stays published, so that
 * every token of the old key is refused.
 */
function leakedSteps(
  { platform }: Surroundings,
  { worker, pendingFile, algorithm }: RotationPlan,
  rotation: Rotation,
): Step[] {
  return [
    {
      title: 'Create a new key',
      run: async () => {
        await rm(pendingFile, { force: true })
        rotation.next = await newSigningKey(algorithm ?? algorithmOf(rotation.live))
        return `Created ${describeKey(rotation.next)}.`
      },
    },
    {
      title: 'Sign with the new key, and publish no other key',
      run: async () => {
        await putSecrets(rotation.account as Account, worker, secretsOf(rotation.next, []))
        return 'Sent to Cloudflare.'
      },
    },
    {
      title: 'Wait until the Worker publishes the new key',
      run: async () => {
        await awaitPublished(platform, rotation.url, rotation.next, rotation.live)
        return 'Tokens of every other key are refused. Verifiers that cache the published keys refuse them within five minutes.'
      },
    },
  ]
}

const Pending = v.object({
  worker: v.string(),
  url: v.string(),
  created_at: v.number(),
  key: v.looseObject({ kid: v.string(), alg: v.picklist(SIGNING_ALGORITHMS) }),
})
type Pending = v.InferOutput<typeof Pending>

/** The saved key of an interrupted rotation, or null. Returns 'damaged' if the file has something that no rotation writes. */
async function readPending(file: string): Promise<Pending | 'damaged' | null> {
  const text = await readPrivately(file)
  if (text === null) return null
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), Pending), text)
  return parsed.success && (await isPrivateKey(parsed.output.key)) ? parsed.output : 'damaged'
}

interface Present {
  readonly worker: string
  readonly url: string
  readonly algorithm: SigningAlgorithm
  readonly live: readonly PublishedKey[]
  /** Unix ms. */
  readonly now: number
}

/** Returns why a saved key cannot be used, or null if it can be used. */
function problemOf(pending: Pending | 'damaged', { worker, url, algorithm, live, now }: Present): string | null {
  if (pending === 'damaged') return 'its file is damaged'
  if (pending.worker !== worker || pending.url !== url) return `it belongs to ${pending.worker} at ${pending.url}`
  if (pending.key.alg !== algorithm) return `it is for ${pending.key.alg}`
  if (now - pending.created_at > MAX_PENDING_MS) return `it is from ${new Date(pending.created_at).toISOString()}`
  if (live.some(({ kid, retired_at }) => kid === pending.key.kid && retired_at !== undefined)) return 'it is retired'
  return null
}

/** Waits until the Worker publishes a key, and none of the keys in `gone`. */
async function awaitPublished(
  platform: Platform,
  url: string,
  { kid }: JWK,
  gone: readonly PublishedKey[] = [],
): Promise<void> {
  for (let waited = 0; ; waited += POLL_MS) {
    const kids = (await readPublishedKeys(platform, url)).map((key) => key.kid)
    if (kids.includes(kid) && !gone.some((key) => kids.includes(key.kid))) return
    if (waited >= PUBLISHED_WITHIN_MS) {
      const left = gone.map((key) => key.kid).filter((old) => kids.includes(old))
      const problem = kids.includes(kid)
        ? `still shows ${left.join(', ')} after two minutes.`
        : `does not show the key ${kid} after two minutes. It shows ${kids.join(', ')}.`
      throw new Failure(`The secrets were set, but ${url}/oauth2/jwks ${problem}`)
    }
    await platform.sleep(POLL_MS)
  }
}

export function algorithmOf(live: readonly PublishedKey[]): SigningAlgorithm {
  return live[0]?.alg === 'ES256' ? 'ES256' : 'RS256'
}

function describeKey({ kid, alg }: JWK): string {
  return `${kid} (${alg})`
}
