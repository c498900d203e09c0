import { newSigningKey, SIGNING_ALGORITHMS } from '../credential/signing-key.ts'
import { answer, command, Failure, json, main, misuse, progress, table } from './command.ts'
import { platform } from './platform.ts'
import { readConfig } from './remote-database.ts'
import {
  hasSigningKey,
  makeLocalSigningSecrets,
  PENDING_KEY,
  publishedBy,
  putSecrets,
  readLocalSigningSecrets,
  readPublishedKeys,
  rotation,
  urlOfDeployed,
} from './signing-keys.ts'
import { runSteps } from './steps.ts'
import { stateFolder, target } from './target.ts'

const algorithm = {
  type: 'string',
  choices: SIGNING_ALGORITHMS,
  says: 'What it signs with. RS256 unless you choose: every gateway can check it.',
} as const

const create = command({
  name: 'signing-key -- create',
  says: 'Makes the key that signs access tokens, where there is none. `npm run dev` and `npm run deploy` do it too.',
  options: { algorithm, ...target, json },
  run: async (values) => {
    onlyOne(values)
    const chosen = values.algorithm ?? 'RS256'
    if (!values.remote) {
      const directory = stateFolder(values['persist-to'])
      if (await readLocalSigningSecrets(directory))
        throw new Failure('There is one. `npm run signing-key -- rotate` exchanges it.')
      const [key] = publishedBy(await makeLocalSigningSecrets(directory, chosen))
      return tell(values.json, String(key?.kid), 'It signs from the next start of `npm run dev` on.')
    }
    const { name } = await readConfig()
    progress('Asking whether there is one…')
    if (await hasSigningKey(platform, name))
      throw new Failure('There is one. `npm run signing-key -- rotate --remote` exchanges it.')
    const key = await newSigningKey(chosen)
    progress('Setting it…')
    await putSecrets(platform, name, { SIGNING_KEY: JSON.stringify(key) })
    tell(values.json, String(key.kid), 'It signs from now on.')
  },
})

const rotate = command({
  name: 'signing-key -- rotate',
  says: 'Exchanges the key that signs access tokens, so that no token is refused meanwhile: on the deployed Worker this takes some six minutes. Stopped, it goes on when run again.',
  options: {
    algorithm: { ...algorithm, says: 'What the new one signs with. As the old one, unless you choose.' },
    leaked: { type: 'boolean', says: 'The key has leaked: exchange it at once, and refuse what it signed.' },
    ...target,
    json,
  },
  run: async (values) => {
    onlyOne(values)
    if (!values.remote) {
      const directory = stateFolder(values['persist-to'])
      const secrets = await readLocalSigningSecrets(directory)
      if (!secrets) throw new Failure('There is none. `npm run signing-key -- create` makes it.')
      const published = publishedBy(secrets)
      const chosen = values.algorithm ?? (published[0]?.alg === 'ES256' ? 'ES256' : 'RS256')
      const [key] = publishedBy(await makeLocalSigningSecrets(directory, chosen, values.leaked ? [] : published))
      return tell(values.json, String(key?.kid), 'It signs from the next start of `npm run dev` on.')
    }
    const { name, issuer } = await readConfig()
    const { steps, kid } = rotation(platform, {
      worker: name,
      issuer,
      algorithm: values.algorithm,
      isLeaked: values.leaked ?? false,
      pendingKey: PENDING_KEY,
    })
    await runSteps(steps, `npm run signing-key -- rotate --remote${values.leaked ? ' --leaked' : ''}`)
    tell(values.json, kid(), 'It signs from now on.')
  },
})

const status = command({
  name: 'signing-key -- status',
  says: 'Shows which key signs access tokens, and which are published besides.',
  options: { ...target, json },
  run: async (values) => {
    onlyOne(values)
    const keys = values.remote ? await deployedKeys() : await localKeys(values['persist-to'])
    const rows = keys.map(({ kid = '', alg = '' }, i) => ({ kid, algorithm: alg, signs: i === 0 }))
    if (values.json) return answer(rows)
    answer(
      table(
        ['KEY', 'ALGORITHM', ''],
        rows.map((row) => [row.kid, row.algorithm, row.signs ? 'signs' : 'published']),
      ),
    )
  },
})

async function deployedKeys() {
  const { name, issuer } = await readConfig()
  progress('Asking the deployed Worker…')
  return readPublishedKeys(platform, await urlOfDeployed(platform, name, issuer))
}

async function localKeys(persistTo: string | undefined) {
  const secrets = await readLocalSigningSecrets(stateFolder(persistTo))
  if (!secrets) throw new Failure('There is none. `npm run signing-key -- create` makes it, and so does `npm run dev`.')
  return publishedBy(secrets)
}

function onlyOne(values: { readonly remote?: boolean | undefined; readonly 'persist-to': string | undefined }): void {
  if (values.remote && values['persist-to']) misuse('--remote and --persist-to name two places: choose one.')
}

function tell(asJson: boolean | undefined, kid: string, words: string): void {
  answer(asJson ? { kid } : `${kid}\n${words}`)
}

await main([create, rotate, status])
