import { describe, expect, test, vi } from 'vitest'
import document from '../../src/pages/assets/generated/openapi.json'
import type { OpenApi } from '../../src/reference/generate/openapi.ts'
import { newFolder } from '../cli/folder.ts'
import { startDev } from '../cli/processes.ts'
import { size } from '../sizes.ts'
import { isInstalled, LANGUAGE_NAMES, type LanguageName, runSample, samplesOf } from './samples.ts'
import { workosAt } from './workos.ts'

/** The samples of `/docs`, run as they are printed against `npm run dev`. */

vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 })

const dev = await startDev(['--port', '0', '--persist-to', await newFolder(), '--json'], '}')
const { url: origin, api_key: apiKey } = JSON.parse(dev.stdout()) as { url: string; api_key: string }
const { connect } = workosAt(origin, apiKey, { fetch })
const samples = samplesOf(await (await fetch(`${origin}/docs`)).text())

/** Every call but those of the appendix. */
const operations = Object.values((document as unknown as OpenApi).paths)
  .flatMap((methods) => Object.values(methods))
  .filter(({ tags }) => tags[0] !== 'Service')

test('every call in the API reference has a sample in every language', () => {
  const expected = operations.flatMap(({ operationId: id }) => LANGUAGE_NAMES.map((language) => `${id} ${language}`))
  expect(samples.map(({ id, language }) => `${id} ${language}`).sort()).toEqual(expected.sort())
})

test('every Python sample imports the modules that it uses', () => {
  for (const { id, code } of samples.filter(({ language }) => language === 'Python')) {
    const [first = '', ...rest] = code.split('\n')
    const used = rest
      .join('\n')
      .matchAll(/\b(os|json|base64|urllib\.\w+)\.(?=environ|dumps|b64encode|urlencode|Request|urlopen)/g)
    expect(first, id).toBe(`import ${[...new Set([...used].map(([, name]) => name))].sort().join(', ')}`)
  }
})

/** The environment variables that the page asks its reader to set. */
async function newReader(): Promise<Record<string, string>> {
  const application = await connect.createM2MApplication('Nightly', 'org_01EHZNVPK3SFK441A1RGBFSHRT')
  const secret = await connect.createApplicationClientSecret({ id: application.id })
  const response = await fetch(`${origin}/oauth2/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: application.clientId,
      client_secret: secret.secret,
    }),
  })
  const { access_token } = (await response.json()) as { access_token: string }
  return {
    API_KEY: apiKey,
    APPLICATION_ID: application.id,
    CLIENT_ID: application.clientId,
    SECRET_ID: secret.id,
    CLIENT_SECRET: secret.secret,
    ACCESS_TOKEN: access_token,
  }
}

/** A member that only a call with the right credentials gets. */
const EXPECTED: Readonly<Record<string, RegExp>> = {
  verifyClientSecret: /\bvalid"?: ?true/,
  introspectAccessToken: /\bactive"?: ?true/,
  createClientSecret: /\bsecret"?: ?["']cs_0/,
}

/**
 * Every sample starts a process: the short run has all of curl, every third of Node and those with a check of their own,
 * and one of each other language.
 */
const STRIDES: Partial<Record<LanguageName, number>> = { curl: 1, Node: 3 }

describe.each(LANGUAGE_NAMES)('each %s sample in the API reference works when pasted', (language) => {
  const ofLanguage = samples.filter((sample) => sample.language === language)
  const stride = process.env.CLIENTS === '1' ? 1 : size(STRIDES[language] ?? ofLanguage.length, 1)
  const chosen = ofLanguage.filter(
    ({ id }, i) => i % stride === 0 || (language === 'Node' && Object.hasOwn(EXPECTED, id)),
  )
  test.skipIf(!isInstalled(language)).each(chosen)('$id', async (sample) => {
    const operation = operations.find(({ operationId }) => operationId === sample.id)
    expect(sample.code).toContain(new URL(origin).hostname)
    const { status, output } = await runSample(sample, await newReader())
    const [success = ''] = Object.keys(operation?.responses ?? {})
    if (!sample.code.includes('@workos-inc/node')) expect(status, output).toBe(success)
    else expect(output).toMatch(success === '204' ? /^$/ : /^\w* ?\{|^\[/)
    expect(output).toMatch(EXPECTED[sample.id] ?? '')
  })
})
