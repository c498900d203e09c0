import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'
import { parse } from 'yaml'
import { newSigningKey } from '../src/credential/signing-key.ts'

const root = resolve(import.meta.dirname, '..')

/** The vendor's own description, beside the checkout where there is one; a user's clone has none. */
const vendorFile = resolve(root, '../shared/workos-connect.openapi.yaml')
const provide = { vendorDescription: existsSync(vendorFile) ? parse(readFileSync(vendorFile, 'utf8')) : null }

/** Where Wycheproof's vectors are, which are not part of this project: see oauth/wycheproof.test.ts. */
const { WYCHEPROOF } = process.env
const readVectors = (name: string) => JSON.parse(readFileSync(resolve(`${WYCHEPROOF}`, `${name}_test.json`), 'utf8'))
const wycheproof = WYCHEPROOF
  ? {
      jws: readVectors('json_web_signature'),
      rsa: readVectors('rsa_signature_2048_sha256'),
      ecdsa: readVectors('ecdsa_secp256r1_sha256_p1363'),
    }
  : null

export default defineConfig({
  root,
  test: {
    silent: 'passed-only',
    projects: [
      {
        root,
        plugins: [
          cloudflareTest(async () => ({
            wrangler: { configPath: './wrangler.toml' },
            miniflare: {
              bindings: {
                MIGRATIONS: await readD1Migrations(`${root}/src/storage/migrations`),
                ISSUER: 'https://oncekey.test',
                SIGNING_KEY: JSON.stringify(await newSigningKey('RS256')),
                MODEL_HISTORIES: process.env.MODEL_HISTORIES ?? '200',
                MODEL_SEED: process.env.MODEL_SEED ?? '',
              },
            },
          })),
        ],
        test: {
          name: 'workerd',
          include: [
            'test/{credential,http,storage,connect,events,oauth,dashboard,reference,faults}/**/*.test.ts',
            'test/*.test.ts',
          ],
          exclude: wycheproof ? [] : ['test/oauth/wycheproof.test.ts'],
          setupFiles: ['test/migrate.ts'],
          // A machine that does other things as well takes several times as long.
          testTimeout: 30_000,
          provide: { ...provide, wycheproof },
        },
      },
      {
        root,
        test: {
          name: 'node',
          // Processes, browsers and sockets depend on the machine's mood. What fails three times, fails.
          retry: 2,
          include: ['test/{conformance,cli,browser}/**/*.test.ts'],
          globalSetup: ['test/bundle.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxConcurrency: 50,
          provide,
        },
      },
    ],
  },
})
