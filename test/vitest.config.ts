import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'
import { parse } from 'yaml'
import { compileCacheFolder } from '../src/cli/wrangler.ts'
import { newSigningKey } from '../src/credential/signing-key.ts'
import { chromiumPath, fullChromiumPath } from './browser/chromium-path.ts'
import { noteMemory } from './memory.ts'
import { runReporter } from './reporter.ts'

const root = resolve(import.meta.dirname, '..')

/** `LONG=1` runs the large samples from a new seed, and `SEED=…` draws again what another run drew. */
const isLong = process.env.LONG === '1'
// In the environment, because each project reads this file again.
process.env.SEED ??= String(isLong ? Math.trunc(Math.random() * 2 ** 31) : 1)
const seed = Number(process.env.SEED)

/** The vendor's own description, which may be beside the checkout: see CONTRIBUTING. */
const vendorFile = resolve(root, '../shared/workos-connect.openapi.yaml')
const vendorDescription = existsSync(vendorFile) ? parse(readFileSync(vendorFile, 'utf8')) : null

/** The folder of Wycheproof's vectors, which are not part of this project: see oauth/wycheproof.test.ts. */
const { WYCHEPROOF } = process.env
const readVectors = (name: string) => JSON.parse(readFileSync(resolve(`${WYCHEPROOF}`, `${name}_test.json`), 'utf8'))
const wycheproof = WYCHEPROOF
  ? {
      jws: readVectors('json_web_signature'),
      rsa: readVectors('rsa_signature_2048_sha256'),
      ecdsa: readVectors('ecdsa_secp256r1_sha256_p1363'),
    }
  : null

const notes = [
  isLong && `Random draws start from SEED=${seed}.`,
  !chromiumPath && 'Skipped: test/browser, because Chromium is not installed.',
  !fullChromiumPath && 'Skipped: going back in a browser, because chromium is not installed.',
  !wycheproof && 'Skipped: test/oauth/wycheproof, because WYCHEPROOF does not name its vectors.',
  !vendorDescription && `Skipped: comparisons with WorkOS's description, because ${vendorFile} is missing.`,
].filter((note) => note !== false)

// The processes of a run, and the commands that tests start, share what V8 has compiled, such as wrangler and Playwright.
const compiled = compileCacheFolder()
if (compiled) process.env.NODE_COMPILE_CACHE ??= compiled

/** Long enough for a machine that is busy with other work. */
const timeout = isLong ? 900_000 : 120_000
const common = {
  // One more than CI has cores, because many tests wait for a browser, a process or the disk. Two or four take longer.
  maxWorkers: 3,
  isolate: false,
  setupFiles: ['test/fresh.ts'],
  testTimeout: timeout,
  hookTimeout: timeout,
  expect: { poll: { timeout } },
  provide: { isLong, seed, vendorDescription, wycheproof },
}

/** Files that are repeated in the second one of three regions: the short run repeats what depends most on the region. */
const inSecondRegion = (files: string) => `test/second-region/${files}.test.ts`

/** The plugin that runs tests in the real runtime, with the bindings of wrangler.toml and these variables. */
export function inRuntime(vars: Record<string, string> = {}) {
  return cloudflareTest(async () => ({
    wrangler: { configPath: './wrangler.toml' },
    miniflare: {
      // For the tests of several regions: see regions.ts.
      d1Databases: { DB: 'DB', DB_1: 'DB_1', DB_2: 'DB_2' },
      bindings: {
        MIGRATIONS: await readD1Migrations(`${root}/src/storage/migrations`),
        ISSUER: 'https://oncekey.test',
        SIGNING_KEY: JSON.stringify(await newSigningKey('RS256')),
        ...vars,
      },
    },
  }))
}

export default defineConfig({
  root,
  test: {
    silent: 'passed-only',
    reporters: ['default', runReporter(notes)],
    projects: [
      {
        root,
        plugins: [inRuntime(), noteMemory],
        test: {
          name: 'workerd',
          include: [
            'test/{credential,contract,http,storage,connect,events,oauth,dashboard,reference,faults}/**/*.test.ts',
            'test/*.test.ts',
            inSecondRegion('tenancy'),
            ...(isLong ? [inSecondRegion('{connect,dashboard,events,oauth}/*')] : []),
          ],
          ...common,
          setupFiles: ['test/fresh.ts', 'test/kept-log.ts', 'test/fresh-database.ts'],
        },
      },
      {
        root,
        test: {
          name: 'node',
          include: ['test/{conformance,cli,browser}/*.test.ts', ...(isLong ? [inSecondRegion('conformance/*')] : [])],
          globalSetup: ['test/bundle.ts'],
          maxConcurrency: 50,
          ...common,
        },
      },
      // Other people's software, which `npm run test:clients` installs and runs.
      ...(process.env.CLIENTS === '1'
        ? [
            {
              root,
              test: {
                name: 'clients',
                // The reference's samples are in languages that `npm test` may not find.
                include: ['test/conformance/clients/*.test.ts', 'test/conformance/reference.test.ts'],
                globalSetup: ['test/bundle.ts', 'test/conformance/clients/packages.ts'],
                ...common,
              },
            },
          ]
        : []),
    ],
  },
})
