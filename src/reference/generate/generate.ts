import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createConfig, lintFromString } from '@redocly/openapi-core'
import packageJson from '../../../package.json' with { type: 'json' }
import { makeDocument } from './document.ts'
import { makePage } from './page.ts'

/**
 * Makes the files in src/pages/assets/generated: the OpenAPI document from the schemas, and the page from the document. With
 * `--check` it writes nothing, and fails when what is there is not what it would write, or when the linter finds an error.
 */
const directory = resolve(import.meta.dirname, '../../pages/assets/generated')
const document = await makeDocument(packageJson.version)
const files = { 'openapi.json': `${JSON.stringify(document, null, 2)}\n`, 'docs.html': makePage(document) }

await mkdir(directory, { recursive: true })
for (const [name, made] of Object.entries(files)) {
  const file = resolve(directory, name)
  if (!process.argv.includes('--check')) await writeFile(file, made)
  else if (made !== (await readFile(file, 'utf8').catch(() => ''))) {
    console.error(
      `src/pages/assets/generated/${name} is not what the sources say: run \`npm run openapi\`, and commit it.`,
    )
    process.exitCode = 1
  }
}

const config = await createConfig({
  extends: ['recommended'],
  rules: {
    // Nobody can be refused who only reads what is the same for everybody.
    'operation-4xx-response': 'off',
    // What a wrong path or method is answered belongs to no operation.
    'no-unused-components': 'off',
  },
})
const problems = await lintFromString({
  source: files['openapi.json'],
  absoluteRef: resolve(directory, 'openapi.json'),
  config,
})
for (const { severity, ruleId, message, location } of problems) {
  console.error(`${severity}: ${ruleId} at ${location[0]?.pointer}: ${message}`)
  process.exitCode = 1
}
