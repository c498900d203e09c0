import { type Command, Option } from '@commander-js/extra-typings'
import type { JWK } from 'jose'
import { newSigningKey, type PublishedKey, SIGNING_ALGORITHMS } from '../credential/signing-key.ts'
import type { Database } from '../storage/database.ts'
import { listEnvironments } from '../storage/operator/environments.ts'
import { recordSigningKeyRotation } from '../storage/operator/events.ts'
import { type Context, Failure, jsonOption, print, runSteps, table } from './command.ts'
import { readConfiguration } from './configuration.ts'
import { stateFolder } from './local-database.ts'
import { type DatabaseChoice, databaseOptions, withRegions } from './operator-database.ts'
import { hasSigningKey, putSecrets, readPublishedKeys, urlOfDeployed } from './platform.ts'
import { askRegions, requireAllAnswered } from './regions.ts'
import { algorithmOf, PENDING_KEY_FILE, rotationSteps } from './rotation.ts'
import {
  createLocalSecrets,
  keySetOf,
  publishedBy,
  readLocalSecrets,
  replaceLocalSecrets,
  requireLocalSecrets,
  retire,
  type SigningSecrets,
  withoutExpired,
} from './signing-secrets.ts'

const AT_NEXT_START = 'This key signs after the next start of `npm run dev`.'

const algorithmOption = (description: string) =>
  new Option('--algorithm <NAME>', description).choices(SIGNING_ALGORITHMS)

export function addSigningKeyCommands(program: Command, context: Context): void {
  const { env, platform, progress } = context
  const group = program.command('signing-key').description('Manage the key that signs access tokens.')
  const show = (json: true | undefined, kid: string | undefined, text: string) =>
    print(context, json ? { kid } : `${kid}\n${text}`)

  databaseOptions(group.command('create'))
    .description('Create a signing key if there is none. `npm run dev` and `npm run deploy` also do this.')
    .addOption(algorithmOption('Algorithm. RS256 by default, which every gateway can verify.'))
    .addOption(jsonOption())
    .action(async ({ remote, persistTo, algorithm = 'RS256', json }) => {
      if (!remote) {
        const directory = stateFolder(persistTo, env)
        if (await requireLocalSecrets(directory)) throw new Failure(`${EXISTS} npm run signing-key -- rotate`)
        const [key] = publishedBy(await createLocalSecrets(directory, algorithm))
        return show(json, key?.kid, AT_NEXT_START)
      }
      const { name, accountId } = await readConfiguration()
      progress('Reading which secrets the Worker has…')
      const account = await platform.login(accountId)
      if (await hasSigningKey(account, name)) throw new Failure(`${EXISTS} npm run signing-key -- rotate --remote`)
      const key = await newSigningKey(algorithm)
      progress('Setting the signing key…')
      await putSecrets(account, name, { SIGNING_KEY: JSON.stringify(key) })
      await show(json, key.kid, 'This key signs from now on.')
    })

  databaseOptions(group.command('rotate'))
    .description(
      'Replace the signing key. Tokens that the old key signed stay valid until they expire, except with --leaked. On the deployed Worker this takes about six minutes. If the command stops, run it again.',
    )
    .addOption(algorithmOption('Algorithm of the new key. By default that of the old key.'))
    .option('--leaked', 'Use this if the key has leaked: replace it at once, and refuse every token that it signed.')
    .addOption(jsonOption())
    .action(async ({ remote, persistTo, algorithm, leaked, json }) => {
      if (!remote) {
        const directory = stateFolder(persistTo, env)
        const secrets = await readLocalSecrets(directory)
        if (secrets === null) throw new Failure(MISSING)
        if (secrets === 'damaged') progress('The old key was damaged, so tokens that it signed are refused.')
        const published = secrets === 'damaged' ? [] : publishedBy(secrets)
        const next = await newSigningKey(algorithm ?? algorithmOf(published))
        await replaceLocalSecrets(directory, next, leaked ? [] : retire(published, next, platform.now()))
        await recordRotation(context, { persistTo }, next, leaked)
        return show(json, next.kid, AT_NEXT_START)
      }
      const { name, accountId, issuer } = await readConfiguration()
      const plan = { accountId, worker: name, issuer, algorithm, pendingFile: PENDING_KEY_FILE }
      const { steps, next } = rotationSteps(context, plan, leaked)
      await runSteps(context, steps, `npm run signing-key -- rotate --remote${leaked ? ' --leaked' : ''}`)
      await recordRotation(context, { remote }, next(), leaked)
      await show(json, next().kid, 'This key signs from now on.')
    })

  databaseOptions(group.command('prune'))
    .description('Stop publishing retired keys whose tokens have all expired. A rotation also does this.')
    .addOption(jsonOption())
    .action(async ({ remote, persistTo, json }) => {
      const directory = stateFolder(persistTo, env)
      const published = remote ? await deployedKeys(context) : publishedBy(await localSecrets(directory))
      const kept = withoutExpired(published, platform.now())
      const dropped = published.filter((key) => !kept.includes(key)).map(({ kid }) => kid)
      if (dropped.length > 0 && remote) {
        const { name, accountId } = await readConfiguration()
        await putSecrets(await platform.login(accountId), name, { PUBLISHED_KEYS: keySetOf(kept.slice(1)) })
      } else if (dropped.length > 0) {
        const { SIGNING_KEY } = await localSecrets(directory)
        await replaceLocalSecrets(directory, JSON.parse(SIGNING_KEY), kept.slice(1))
      }
      if (json) return print(context, { dropped })
      await print(
        context,
        dropped.length > 0 ? `Dropped: ${dropped.join(', ')}.` : 'No retired key can be dropped yet.',
      )
    })

  databaseOptions(group.command('status'))
    .description('Show which key signs access tokens, and which others are published.')
    .addOption(jsonOption())
    .action(async ({ remote, persistTo, json }) => {
      const keys = remote ? await deployedKeys(context) : publishedBy(await localSecrets(stateFolder(persistTo, env)))
      const rows = keys.map(({ kid = '', alg = '', retired_at }, i) => ({
        kid,
        algorithm: alg,
        signs: i === 0,
        ...(retired_at !== undefined && { retired_at: new Date(retired_at * 1000).toISOString() }),
      }))
      if (json) return print(context, rows)
      const state = (row: (typeof rows)[number]) =>
        row.signs ? 'signs' : row.retired_at ? `retired at ${row.retired_at}` : 'published'
      await print(
        context,
        table(
          ['KEY', 'ALGORITHM', 'STATE'],
          rows.map((row) => [row.kid, row.algorithm, state(row)]),
        ),
      )
    })
}

const EXISTS = 'There is a signing key already. Nothing was changed. To replace it:'
const MISSING = 'There is no signing key. Nothing was changed. To create one: npm run signing-key -- create'

async function deployedKeys({ platform, progress }: Context): Promise<PublishedKey[]> {
  const { name, accountId, issuer } = await readConfiguration()
  progress('Reading the published keys…')
  return readPublishedKeys(platform, await urlOfDeployed(await platform.login(accountId), name, issuer))
}

async function localSecrets(directory: string): Promise<SigningSecrets> {
  const secrets = await requireLocalSecrets(directory)
  if (!secrets) throw new Failure(MISSING)
  return secrets
}

/**
 * Records a rotation as an event of every environment. If that fails, the command still succeeds, because the rotation
 * has taken effect.
 */
async function recordRotation(
  context: Context,
  choice: DatabaseChoice,
  { kid = '', alg = '' }: JWK,
  isLeaked = false,
): Promise<void> {
  try {
    const record = async (database: Database) => {
      for (const { id } of await listEnvironments(database)) {
        await recordSigningKeyRotation(database, id, context.platform.now(), { kid, algorithm: alg, isLeaked })
      }
    }
    requireAllAnswered(await withRegions(context, choice, (open) => askRegions(open, record)))
  } catch (error) {
    context.progress(`The key was replaced, but not every event was recorded: ${(error as Error).message}`)
  }
}
