import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { containsCredential } from '../src/credential/credential.ts'

/**
 * Refuses a lock file that leads anywhere but to the public registry, and credentials in tracked files.
 * Usage: `node test/supply-chain.ts`
 */
const REGISTRY = 'https://registry.npmjs.org/'

/** Credentials that tests and README show: made for that, or of a database that is gone. By file and hint. */
const FIXTURES = [
  'README.md 22Fxzi',
  'test/credential/credential.test.ts 1OZSBG',
  'test/credential/credential.test.ts 4F3ptC',
  'test/credential/credential.test.ts 2oj4cD',
  'test/credential/credential.test.ts 3yF0u6',
  'test/credential/primitives.test.ts 2oj4cD',
]

interface Package {
  version?: string
  resolved?: string
  integrity?: string
  link?: boolean
  hasInstallScript?: boolean
}

export interface Manifest {
  dependencies?: Record<string, string>
  devDependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
  allowScripts?: Record<string, boolean>
}

/**
 * The entries by which an install could differ from the reviewed one. `.npmrc` leaves the addresses out of the lock
 * file: an entry without one comes from the registry that npm is set to, and must match its digest.
 */
export function lockProblems(lock: { packages: Record<string, Package> }, manifest: Manifest): string[] {
  const problems: string[] = []
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (path === '') continue
    const name = path.replace(/^.*node_modules\//, '')
    if (!path.startsWith('node_modules/') || entry.link) problems.push(`${path}: not from a registry`)
    if (!/^sha512-[0-9A-Za-z+/]{86}==$/.test(entry.integrity ?? '')) problems.push(`${path}: no SHA-512 integrity`)
    if (!(entry.resolved ?? REGISTRY).startsWith(REGISTRY)) problems.push(`${path}: resolved to ${entry.resolved}`)
    if (entry.hasInstallScript && manifest.allowScripts?.[name] !== false)
      problems.push(`${path}: has an install script`)
  }
  const { dependencies, devDependencies, optionalDependencies } = manifest
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })) {
    if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
      problems.push(`package.json: ${name}@${version} is not an exact version`)
  }
  return problems
}

/** The credentials and private keys in a text, each as its line and hint. */
export function credentialsIn(text: string): { line: number; hint: string }[] {
  return text
    .split('\n')
    .flatMap((content, index) =>
      [...content.matchAll(/(?<privateMember>"d\\*"\s*:\s*\\*")?[\w-]{40,}/g)]
        .filter(({ 0: found, groups }) => groups?.privateMember || containsCredential(found))
        .map(({ 0: found }) => ({ line: index + 1, hint: found.slice(-6) })),
    )
}

if (process.argv[1] === import.meta.filename) {
  const root = resolve(import.meta.dirname, '..')
  const read = (file: string) => readFileSync(resolve(root, file), 'latin1')
  const problems = lockProblems(JSON.parse(read('package-lock.json')), JSON.parse(read('package.json')))
  const unused = new Set(FIXTURES)
  for (const file of execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' })
    .split('\0')
    .slice(0, -1)) {
    for (const { line, hint } of credentialsIn(read(file))) {
      unused.delete(`${file} ${hint}`)
      if (!FIXTURES.includes(`${file} ${hint}`)) problems.push(`${file}:${line}: a credential ending in ${hint}`)
    }
  }
  for (const fixture of unused) problems.push(`${fixture}: this fixture is gone`)
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exitCode = 1
}
