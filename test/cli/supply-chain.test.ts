import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { newSigningKey } from '../../src/credential/signing-key.ts'
import { credentialsIn, lockProblems } from '../supply-chain.ts'

const root = resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(resolve(root, file), 'utf8')
const manifest = JSON.parse(read('package.json'))
const lock = JSON.parse(read('package-lock.json'))

interface Component {
  'bom-ref': string
  name: string
  scope: string
  /** Says whether the package is for development. */
  properties: object[]
}

describe('the npm dependencies', () => {
  test('CONTRIBUTING lists each production dependency with its licence', () => {
    const [, section] = read('.github/CONTRIBUTING.md').split('## Dependencies')
    const table = `${section}`.replace(/\n## .*/s, '')
    const listed = [...table.matchAll(/^\| \[([\w-]+)\]\(\S+\) \| ([\w.-]+) \| .+ \|$/gm)]
    expect(Object.fromEntries(listed.map(([, name, licence]) => [name, licence]))).toEqual(
      Object.fromEntries(
        Object.keys(manifest.dependencies).map((name) => [name, lock.packages[`node_modules/${name}`].license]),
      ),
    )
  })

  test('`npm run sbom` lists each package, and gives the production dependencies the scope “required”', () => {
    const { bomFormat, components } = JSON.parse(
      execFileSync('npm', ['run', '-s', 'sbom'], { cwd: root, encoding: 'utf8', shell: process.platform === 'win32' }),
    )
    expect(bomFormat).toBe('CycloneDX')
    const required = components.filter(
      ({ scope, properties }: Component) => scope === 'required' && properties.length === 0,
    )
    expect(required.map(({ name }: Component) => name)).toEqual(Object.keys(manifest.dependencies))
    // package-lock.json has the same version of a package twice if two other packages each contain it.
    const locked = Object.entries(lock.packages as Record<string, { name?: string; version: string }>).map(
      ([path, { name, version }]) => `${name ?? path.replace(/^.*node_modules\//, '')}@${version}`,
    )
    expect(new Set(components.map((component: Component) => component['bom-ref']))).toEqual(new Set(locked.slice(1)))
  })

  const entry = { integrity: `sha512-${'A'.repeat(86)}==` }
  test.each([
    ['from another host', { a: { ...entry, resolved: 'https://example.com/a.tgz' } }],
    [
      'from a host that begins as the registry does',
      { a: { ...entry, resolved: 'https://registry.npmjs.org.example' } },
    ],
    ['from a registry without TLS', { a: { ...entry, resolved: 'http://registry.npmjs.org/a/-/a-1.0.0.tgz' } }],
    ['from git', { a: { ...entry, resolved: 'git+ssh://git@github.com/a/a.git#0123' } }],
    ['without integrity', { a: {} }],
    ['with a SHA-1 only', { a: { integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' } }],
    ['that is a link', { a: { ...entry, link: true } }],
    ['with an install script', { a: { ...entry, hasInstallScript: true } }],
  ])('a package %s in package-lock.json is refused', (_, { a }) => {
    expect(lockProblems({ packages: { 'node_modules/a': a } }, {})).toEqual([expect.stringContaining('node_modules/a')])
  })

  test.each([
    '^1.0.0',
    'latest',
    'git+https://github.com/a/a',
    'https://example.com/a.tgz',
    'file:../a',
    'npm:b@1.0.0',
  ])('a dependency on %s is refused', (version) => {
    expect(lockProblems({ packages: {} }, { devDependencies: { a: version } })).toEqual([expect.stringContaining('a@')])
  })
})

describe('the search for credentials in files', () => {
  test.each(['cs', 'sk', 'whsec', 'session', 'my_prefix'])(
    'a credential with the prefix %s in a text is found',
    async (prefix) => {
      const { plaintext, hint } = await issueCredential(prefix, '0')
      for (const text of [
        plaintext,
        `key = "${plaintext}"`,
        `https://${plaintext}@example.com/`,
        `KEY_${plaintext}-old`,
      ]) {
        expect(credentialsIn(`first line\n${text}\n`)).toMatchObject([{ line: 2 }])
      }
      expect(credentialsIn(plaintext)).toEqual([{ line: 1, hint }])
    },
  )

  test.each(['RS256', 'ES256'] as const)('a private key for %s in a text is found', async (algorithm) => {
    const key = JSON.stringify(await newSigningKey(algorithm))
    expect(credentialsIn(key)).toHaveLength(1)
    expect(credentialsIn(JSON.stringify(JSON.stringify({ SIGNING_KEY: key })))).toHaveLength(1)
  })

  test('a text with the form of a credential but a wrong checksum is not reported', async () => {
    const { plaintext } = await issueCredential('cs', '0')
    const other = plaintext.slice(0, -1) + (plaintext.endsWith('a') ? 'b' : 'a')
    expect(credentialsIn(`${other} ${'a'.repeat(100)} {"integrity":"sha512-${'a'.repeat(86)}=="}`)).toEqual([])
  })
})
