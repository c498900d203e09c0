import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createConfig, lintFromString } from '@redocly/openapi-core'
import packageJson from '../../../package.json' with { type: 'json' }
import { makeDocument } from './document.ts'
import { GUIDES, readGuide } from './guides.ts'
import { makeIndex, makeMarkdown } from './markdown.ts'
import { makePage } from './page.ts'

/**
 * Writes src/pages/assets/generated: the OpenAPI document from the schemas, and the other files from the document and
 * the guides. With `--check`, writes no file, and fails if a file is out of date. With and without `--check`, fails if
 * the OpenAPI linter finds a problem.
 */
const directory = resolve(import.meta.dirname, '../../pages/assets/generated')
const { document, errors } = await makeDocument(packageJson.version)
const guides = GUIDES.map(readGuide)
const files = {
  'openapi.json': `${JSON.stringify(document, null, 2)}\n`,
  'docs.html': makePage(document, errors, guides),
  'docs.md': makeMarkdown(document, errors, guides),
  'llms.txt': makeIndex(document, guides),
}

await mkdir(directory, { recursive: true })
for (const [name, content] of Object.entries(files)) {
  const file = resolve(directory, name)
  if (!process.argv.includes('--check')) await writeFile(file, content)
  else if (content !== (await readFile(file, 'utf8').catch(() => ''))) {
    console.error(`src/pages/assets/generated/${name} is out of date: run \`npm run openapi\` and commit it.`)
    process.exitCode = 1
  }
}

const problems = await lintFromString({
  source: files['openapi.json'],
  absoluteRef: resolve(directory, 'openapi.json'),
  config: await createConfig({ extends: ['recommended-strict'] }),
})
for (const { severity, ruleId, message, location } of problems) {
  console.error(`${severity}: ${ruleId} at ${location[0]?.pointer}: ${message}`)
  process.exitCode = 1
}
