import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { Instrumenter } from '@stryker-mutator/instrumenter'
import { sqlMutations } from './sql.ts'

/** Mutated sources and generated test files, relative to the repository. Vitest's configuration is read in this process. */
export const FOLDER = `.wrangler/mutation-${process.pid}`

export interface Mutant {
  readonly id: string
  /** Relative to the repository. */
  readonly file: string
  readonly line: number
  /** The line and the change, in one line of text: how equivalent.ts names the mutant. */
  readonly text: string
}

interface Node {
  type: string
  properties?: Node[]
  value?: Node
  key?: { name?: string }
  tag?: { name?: string }
  callee?: { name?: string }
  quasi?: Node
  quasis: { value: { raw: string; cooked: string } }[]
}

/** Changes the SQL of `sql` and `raw` templates, which Stryker's own mutators can only empty. */
const sqlMutator = {
  name: 'SQL',
  *mutate({ node, parent }: { node: Node; parent: Node | null }) {
    const isTagged = node.type === 'TaggedTemplateExpression' && node.tag?.name === 'sql'
    const isRaw = node.type === 'TemplateLiteral' && parent?.callee?.name === 'raw'
    const template = isTagged ? node.quasi : isRaw ? node : undefined
    for (const [index, { value }] of template?.quasis.entries() ?? []) {
      for (const sql of sqlMutations(value.cooked)) {
        const replacement = structuredClone(node)
        const part = (isTagged ? replacement.quasi : replacement)?.quasis[index]
        if (part) part.value = { raw: sql, cooked: sql }
        yield replacement
      }
    }
  },
}

const silent = () => {}
const logger = { ...console, trace: silent, debug: silent, info: silent, fatal: console.error }
const instrumenter = new Instrumenter({
  ...logger,
  isTraceEnabled: () => false,
  isDebugEnabled: () => false,
  isInfoEnabled: () => false,
  isWarnEnabled: () => true,
  isErrorEnabled: () => true,
  isFatalEnabled: () => true,
})

// Stryker has no plug-ins for mutators: this adds ours to the list of its own.
const listOfMutators = new URL('mutators/mutate.js', import.meta.resolve('@stryker-mutator/instrumenter'))
const { allMutators } = (await import(listOfMutators.href)) as { allMutators: object[] }
allMutators.push(sqlMutator)

const TEXTS = ['StringLiteral', 'TemplateLiteral']
const TEXT_MEMBERS = ['message', 'description']
const ERRORS = ['Error', 'TypeError', 'RangeError']

/** Texts for people: the words of errors, log entries and descriptions. Their mutants cost a run and find no defect. */
const textIgnorer = {
  shouldIgnore({ node, key, parent }: { node: Node; key: string | number | null; parent: Node | null }) {
    if (node.type === 'ObjectExpression') {
      const { properties = [] } = node
      const hasOnlyTexts = properties.every(
        ({ key, value }) => TEXT_MEMBERS.includes(`${key?.name}`) && TEXTS.includes(`${value?.type}`),
      )
      return properties.length > 0 && hasOnlyTexts ? 'a text' : undefined
    }
    if (!TEXTS.includes(node.type)) return undefined
    const isMember =
      parent?.type === 'ObjectProperty' && key === 'value' && TEXT_MEMBERS.includes(`${parent.key?.name}`)
    const isOfError = parent?.type === 'NewExpression' && ERRORS.includes(`${parent.callee?.name}`)
    return isMember || isOfError ? 'a text' : undefined
  },
}

/** Writes each file with all of its mutants, of which the tests activate one at a time, and returns these. */
export async function mutate(root: string, files: readonly string[]): Promise<Mutant[]> {
  const sources = new Map<string, string>()
  for (const file of files) sources.set(file, await readFile(resolve(root, file), 'utf8'))
  const result = await instrumenter.instrument(
    Array.from(sources, ([name, content]) => ({ name, content, mutate: true })),
    { excludedMutations: [], ignorers: [textIgnorer], plugins: null },
  )
  for (const { name, content } of result.files) {
    const path = resolve(root, FOLDER, name)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, content)
  }
  return result.mutants.flatMap(({ id, fileName, location: { start, end }, replacement = '', mutatorName, status }) => {
    if (status === 'Ignored') return []
    const lines = `${sources.get(fileName)}`.split('\n')
    const code = lines.slice(start.line, end.line + 1)
    const tail = lines[end.line]?.length ?? 0
    const original = code.join('\n').slice(start.column, end.column - tail || undefined)
    // An empty statement fails at once, and would raise every score.
    const isEmptySql = mutatorName === 'StringLiteral' && /(sql|raw\()$/.test(`${code[0]}`.slice(0, start.column))
    if (isEmptySql) return []
    const line = start.line + 1
    return { id, file: fileName, line, text: `${`${code[0]}`.trim()} ⟶ ${change(original, replacement)}` }
  })
}

/** The part of a code that a mutant changes, with some of the text around it. */
function change(original: string, replacement: string): string {
  const [before, after] = [original, replacement].map((code) => code.replace(/\s+/g, ' ')) as [string, string]
  let start = 0
  while (start < before.length && before[start] === after[start]) start++
  const from = Math.max(0, start - 20)
  let end = 0
  while (end < Math.min(before.length, after.length) - start && before.at(-1 - end) === after.at(-1 - end)) end++
  const until = Math.max(0, end - 10)
  const part = (code: string) => code.slice(from, code.length - until)
  return `${part(before).slice(0, 100)} ⟶ ${part(after).slice(0, 100)}`
}
