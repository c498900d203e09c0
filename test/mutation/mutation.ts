import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { createVitest, type TestModule } from 'vitest/node'
import { describeMachine } from '../bench/machine.ts'
import { clearProgress, progress } from '../bench/progress.ts'
import { type Coverage, ON_IMPORT } from './coverage.ts'
import { EQUIVALENT } from './equivalent.ts'
import { FOLDER, type Mutant, mutate } from './mutants.ts'

/**
 * `npm run test:mutation`: changes one operator, value or clause of the sources at a time, and runs the tests that reach
 * it, in the real runtime, or in Node for the operator's functions. A mutant that no test fails for has survived: a defect
 * there would not be noticed.
 */
const ROOMS = '{credential,contract,storage,http,oauth,connect}'
/** Files in which each survivor is killed or explained. */
const CRITICAL = [
  'src/dashboard/session.ts',
  'src/http/rate-limits.ts',
  'src/oauth/client-authentication.ts',
  'src/storage/client-authentication.ts',
  'src/storage/caller.ts',
  'src/storage/client-secrets.ts',
  'src/storage/idempotency.ts',
  'src/storage/caller-conditions.ts',
  'src/storage/issuing.ts',
  'src/storage/sessions.ts',
]
const TESTS = [
  'test/{credential,contract,http,storage,connect,events,oauth,dashboard,reference,faults}/**/*.test.ts',
  'test/*.test.ts',
  // Tests in Node, of the operator's functions.
  'test/cli/{api-key,bootstrap,environment,export,freeze,recover,webhook}.test.ts',
]
const CHUNK = 100
const MAX_STARTS = 5

const { values } = parseArgs({
  options: {
    files: { type: 'string', multiple: true, default: [] },
    since: { type: 'string' },
    sample: { type: 'string' },
    minutes: { type: 'string' },
    verbose: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    tests: { type: 'string', multiple: true, default: TESTS },
  },
})
const root = resolve(import.meta.dirname, '../..')
const glob = (patterns: string[]) => globSync(patterns, { cwd: root }).sort()
const all = glob([`src/${ROOMS}/**/*.ts`])
const files = values.files.length > 0 ? glob(values.files) : values.since ? changedSince(values.since) : all
const testFiles = glob(values.tests)

/** The sources that differ from a commit. */
function changedSince(ref: string): string[] {
  const changed = execFileSync('git', ['diff', '--name-only', '--merge-base', ref], { cwd: root, encoding: 'utf8' })
  return all.filter((file) => changed.split('\n').includes(file))
}

mkdirSync(resolve(root, FOLDER), { recursive: true })
const explained = (mutant: Mutant) => EQUIVALENT[mutant.file]?.[mutant.text] !== undefined
const everyMutant = await mutate(root, files)
const candidates = everyMutant.filter((mutant) => !explained(mutant))
const rank = ({ file, line, text }: Mutant) =>
  createHash('sha256').update(`${values.seed} ${file}:${line} ${text}`).digest('hex')
const mutants = values.sample
  ? candidates
      .map((mutant) => ({ mutant, key: rank(mutant) }))
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .slice(0, Number(values.sample))
      .map(({ mutant }) => mutant)
  : candidates

if (mutants.length === 0) {
  rmSync(resolve(root, FOLDER), { recursive: true })
  console.log('There is nothing to mutate.')
  process.exit()
}

const vitest = await createVitest('test', { config: resolve(import.meta.dirname, 'vitest.config.ts'), watch: false })
await vitest.standalone()

const notes: string[] = []
const errors: string[] = []

/** True if a file's tests run in Node: those of the operator's functions, which run there too. */
const isInNode = (testFile: string) => /^test\/(cli|conformance|browser)\//.test(testFile)

interface Job {
  readonly name: string
  readonly code: string
  readonly testFile: string
}

let runs = 0

/**
 * Runs generated test files in their order, in one runtime or in Node, and returns the result of each by its name. Each
 * run has a folder of its own, because Vite keeps what a file of the same name had before.
 */
async function run(jobs: readonly Job[]): Promise<Map<string, TestModule>> {
  const folder = resolve(root, FOLDER, `run-${++runs}`)
  mkdirSync(folder)
  const specifications = jobs.map(({ name, code, testFile }) => {
    const project = vitest.getProjectByName(isInNode(testFile) ? 'node' : 'workerd')
    const path = resolve(folder, `${name}.test.ts`)
    writeFileSync(path, `import { judge, recordCoverage } from '/test/mutation/tests.ts'\n${code}\n`)
    return project.createSpecification(path)
  })
  let result: Awaited<ReturnType<typeof vitest.runTestSpecifications>>
  let starts = 0
  do {
    // On a busy machine a runtime may not start in time. No test has run then, so that nothing is judged twice.
    if (starts > 0) console.warn('The runtime did not start in time. Starting it again…')
    vitest.state.filesMap.clear()
    result = await vitest.runTestSpecifications(specifications)
  } while (result.testModules.length === 0 && ++starts < MAX_STARTS)
  const { testModules, unhandledErrors } = result
  // Without this, every mutant would seem to survive.
  if (testModules.length < jobs.length)
    throw new AggregateError(unhandledErrors, `no result: ${unhandledErrors.join()}`)
  rmSync(folder, { recursive: true })
  return new Map(testModules.map((module) => [basename(module.moduleId, '.test.ts'), module]))
}

/** A test file and the tests in it that reach a mutant; null for all tests. */
interface Judge {
  readonly testFile: string
  readonly tests: readonly string[] | null
  /** True if the mutant is reached when its module is loaded, which must then be loaded again. */
  readonly isFresh: boolean
  /** A loop that the mutant made endless ends after so many more rounds than without it. */
  readonly hitLimit: number
  readonly cost: number
}

const wordsOf = (text: string) => new Set(text.match(/\w{4,}/g))
const wordsOfTests = new Map(testFiles.map((file) => [file, wordsOf(readFileSync(resolve(root, file), 'utf8'))]))
const occurrences = Object.groupBy(
  [...wordsOfTests.values()].flatMap((words) => [...words]),
  (word) => word,
)

/**
 * Returns how likely the tests of a file are to notice a mutant: the words that they share with the changed line, of
 * which rare ones count more.
 */
function likelihood({ file, text }: Mutant, testFile: string): number {
  const words = wordsOf(`${basename(file, '.ts')} ${text}`)
  const shared = [...words].filter((word) => wordsOfTests.get(testFile)?.has(word))
  return shared.reduce((sum, word) => sum + 1 / (occurrences[word]?.length ?? 1), 0)
}

/** Runs every test file without a mutant, and tells which tests reach each mutant. */
async function findJudges(): Promise<Map<string, Judge[]>> {
  const judges = new Map<string, Judge[]>(mutants.map(({ id }) => [id, []]))
  const jobs = testFiles.map((testFile, i) => ({
    name: `fresh-coverage-${i}`,
    code: `await recordCoverage(${JSON.stringify([testFile, files])})`,
    testFile,
  }))
  const modules = await run(jobs)
  for (const { name, testFile } of jobs) {
    const module = modules.get(name)
    const coverage: Coverage | undefined = module?.meta().coverage
    // All tests of the file are skipped on this machine.
    if (module?.state() === 'skipped') continue
    if (!module || !coverage || module.state() === 'failed') {
      errors.push(`${testFile} judges no mutant, because it fails without one: ${module && failureOf(module)}`)
      continue
    }
    const cost = module.diagnostic().duration
    const onImport = coverage.perTest[ON_IMPORT] ?? {}
    const reached = new Map<string, string[]>()
    const hitsOf = new Map<string, number>()
    for (const [test, hits] of Object.entries(coverage.perTest)) {
      for (const [id, count] of Object.entries(hits)) {
        reached.set(id, [...(reached.get(id) ?? []), test])
        hitsOf.set(id, (hitsOf.get(id) ?? 0) + count)
      }
    }
    for (const { id, file } of mutants) {
      // In Node, each mutant that runs on import would take all tests of these slow files.
      if (isInNode(testFile) && !file.includes('/operator/')) continue
      const isFresh = Object.hasOwn(coverage.static, id)
      const isEverywhere = isFresh || Object.hasOwn(onImport, id)
      const tests = isEverywhere ? null : reached.get(id)
      const hitLimit = 10 * (hitsOf.get(id) ?? 0) + 100_000
      if (tests !== undefined) judges.get(id)?.push({ testFile, tests, isFresh, hitLimit, cost })
    }
  }
  for (const mutant of mutants) {
    const isMirror = ({ testFile }: Judge) => basename(testFile, '.test.ts') === basename(mutant.file, '.ts')
    const likelihoods = new Map(testFiles.map((testFile) => [testFile, likelihood(mutant, testFile)]))
    const of = ({ testFile }: Judge) => likelihoods.get(testFile) ?? 0
    judges.get(mutant.id)?.sort((a, b) => Number(isMirror(b)) - Number(isMirror(a)) || of(b) - of(a) || a.cost - b.cost)
  }
  return judges
}

interface Trial {
  readonly mutant: Mutant
  readonly judge: Judge
}

/**
 * Runs the tests of one file for each of its mutants, and returns the results by the mutants' IDs. The mutants share
 * the loaded modules. So each that was not reached is tried again with modules of its own (another test had filled a
 * cache), and so is each that failed, if the file then fails without a mutant (an earlier one had broken a cache).
 */
async function tryEach(trials: readonly Trial[], areFresh = false): Promise<Map<string, TestModule>> {
  const jobs = trials.map(({ mutant: { id }, judge: { tests, testFile, isFresh, hitLimit } }) => ({
    name: `${areFresh || isFresh ? 'fresh-' : ''}mutant-${id}`,
    code: `await judge(${JSON.stringify([testFile, tests, hitLimit])})`,
    testFile,
    id,
  }))
  jobs.sort((a, b) => Number(a.name.startsWith('fresh')) - Number(b.name.startsWith('fresh')))
  const shared = jobs.findIndex(({ name }) => name.startsWith('fresh'))
  const testFile = trials[0]?.judge.testFile ?? ''
  const control = {
    name: 'control',
    code: `await judge(${JSON.stringify([testFile, null, 0])})`,
    testFile,
    id: '',
  }
  if (shared !== 0) jobs.splice(shared === -1 ? jobs.length : shared, 0, control)
  const modules = await run(jobs)
  const results = new Map(
    jobs.flatMap(({ name, id }) => (modules.has(name) ? [[id, modules.get(name) as TestModule]] : [])),
  )
  const isBroken = results.get('')?.state() === 'failed'
  const doubtful = trials.filter(({ mutant: { id }, judge: { isFresh } }) => {
    const result = results.get(id)
    if (areFresh || isFresh || !result) return false
    return result.state() === 'failed' ? isBroken : result.meta().hits === 0
  })
  const again = doubtful.length > 0 ? await tryEach(doubtful, true) : []
  return new Map([...results, ...again])
}

function failureOf(module: TestModule): string {
  const test = [...module.children.allTests()].find((child) => child.result().state === 'failed')
  const [error] = test?.result().errors ?? module.errors()
  return `${test?.fullName ?? 'the file'}: ${`${error?.message}`.split('\n')[0]}`
}

progress(`Running ${testFiles.length} test files without a mutant…`)
const judges = await findJudges()
const killers = new Map<string, string>()
const unreached = new Set(mutants.filter(({ id }) => judges.get(id)?.length === 0))
let alive = mutants.filter((mutant) => !unreached.has(mutant))

const end = values.minutes ? Date.now() + Number(values.minutes) * 60_000 : Number.POSITIVE_INFINITY
let undecided = 0

for (let round = 0; alive.length > 0; round++) {
  const next: Mutant[] = []
  const queue = alive.flatMap((mutant) => {
    const judge = judges.get(mutant.id)?.[round]
    return judge ? [{ mutant, judge }] : []
  })
  const byTestFile = Object.entries(Object.groupBy(queue, ({ judge }) => judge.testFile))
  const chunks = byTestFile.flatMap(([, trials = []]) =>
    Array.from({ length: Math.ceil(trials.length / CHUNK) }, (_, i) => trials.slice(i * CHUNK, (i + 1) * CHUNK)),
  )
  let left = queue.length
  for (const chunk of chunks) {
    left -= chunk.length
    if (Date.now() > end) {
      undecided += chunk.length
      continue
    }
    progress(`round ${round + 1}: ${chunk.length} changes with ${chunk[0]?.judge.testFile}…`)
    const results = await tryEach(chunk)
    for (const { mutant, judge } of chunk) {
      const module = results.get(mutant.id)
      const state = module?.state()
      if (module && state === 'failed') killers.set(mutant.id, `${judge.testFile}: ${failureOf(module)}`)
      else if (state === 'passed' || state === 'skipped') next.push(mutant)
      else errors.push(`${mutant.file}:${mutant.line} ${mutant.text}: ${state ?? 'no result'} in ${judge.testFile}`)
    }
    progress(`round ${round + 1}: ${killers.size} of ${mutants.length} killed, ${left} to run`)
  }
  alive = next.filter(({ id }) => (judges.get(id)?.length ?? 0) > round + 1)
}
await vitest.close()
rmSync(resolve(root, FOLDER), { recursive: true })
clearProgress()

const survivors = mutants.filter(({ id }) => !killers.has(id))
const percent = (part: number, whole: number) => (whole === 0 ? '–' : `${((100 * part) / whole).toFixed(1)} %`)

/** The interval of Wilson with 95 % confidence. */
function interval(part: number, whole: number): [low: number, high: number] {
  const z = 1.96
  const share = part / whole
  const middle = share + (z * z) / (2 * whole)
  const spread = z * Math.sqrt((share * (1 - share)) / whole + (z * z) / (4 * whole * whole))
  const scale = 1 + (z * z) / whole
  return [(middle - spread) / scale, (middle + spread) / scale]
}

if (values.verbose) {
  for (const { id, file, line, text } of mutants) {
    if (killers.has(id)) console.log(`${file}:${line}: ${text}\n  killed by ${killers.get(id)}`)
  }
}
for (const mutant of survivors) {
  const state = unreached.has(mutant) ? 'no test reaches' : 'survived'
  console.log(`${mutant.file}:${mutant.line}: ${state}: ${mutant.text}`)
  // A pull request shows it beside the line.
  if (process.env.GITHUB_ACTIONS)
    console.log(`::warning file=${mutant.file},line=${mutant.line}::${state}: ${mutant.text.replaceAll('%', '%25')}`)
}
if (undecided > 0) notes.push(`The time was over for ${undecided} mutants, which count as survivors.`)
for (const note of [...notes, ...errors]) console.log(note)
console.log(`
npm run test:mutation -- ${process.argv.slice(2).join(' ')}
${describeMachine()}
${new Date().toISOString().slice(0, 10)}

| file | mutants | killed | survived | explained | score |
|---|---|---|---|---|---|`)
for (const file of [...files, '']) {
  const of = (list: Mutant[]) => list.filter((mutant) => file === '' || mutant.file === file).length
  const count = of(mutants)
  if (count === 0) continue
  const killed = count - of(survivors)
  const skipped = of(everyMutant.filter(explained))
  console.log(
    `| ${file || 'all'} | ${count} | ${killed} | ${count - killed} | ${skipped} | ${percent(killed, count)} |`,
  )
}
const total = mutants.length
const killed = total - survivors.length
const [low, high] = interval(killed, total)
if (values.sample && total > 0) {
  const range = `${percent(low, 1)} to ${percent(high, 1)}`
  console.log(
    `\nA sample of ${candidates.length} mutants, seed ${values.seed}: with 95 % confidence the score is ${range}.`,
  )
}
const stale = Object.entries(EQUIVALENT).flatMap(([file, texts]) =>
  Object.keys(texts).filter(
    (text) => files.includes(file) && !everyMutant.some((m) => m.file === file && m.text === text),
  ),
)
for (const text of stale) console.log(`equivalent.ts names a mutant that does not exist: ${text}`)
const critical = survivors.filter(({ file }) => CRITICAL.includes(file)).length
const reasons = [
  stale.length > 0 && 'equivalent.ts names mutants that do not exist',
  errors.length > 0 && 'some test files judge no mutant, or gave no result',
  critical > 0 && `${critical} mutants of critical files survived`,
  total > 0 && high < 0.9 && 'the score is below 90 %',
].filter((reason) => reason !== false)
console.log(reasons.length > 0 ? `\nFailed: ${reasons.join('; ')}.` : '\nPassed.')
if (reasons.length > 0) process.exitCode = 1
