import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createLocalSecrets } from '../../src/cli/signing-secrets.ts'
import { newFolder } from './folder.ts'
import { cli } from './terminal.ts'

/** `npm run signing-key` without --remote: the key of `npm run dev`. Rotation of the deployed one: rotation.test.ts. */

const DAY_MS = 24 * 60 * 60 * 1000
const HANDOVER_SECONDS = 300

async function localKeys() {
  const folder = await newFolder()
  const clock = { now: Date.parse('2026-11-26T12:00:00Z') }
  const signingKey = (...words: string[]) =>
    cli(['signing-key', ...words, '--persist-to', folder, '--json'], { platform: { now: () => clock.now } })
  return { folder, file: join(folder, '.signing-key.json'), clock, signingKey }
}

test('the local signing key can be created, rotated, listed with its state, and replaced after a leak', async () => {
  const { file, signingKey } = await localKeys()
  const first = (await signingKey('create')).json.kid
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  const second = (await signingKey('rotate', '--algorithm', 'ES256')).json.kid
  expect((await signingKey('status')).json).toEqual([
    { kid: second, algorithm: 'ES256', signs: true },
    { kid: first, algorithm: 'RS256', signs: false, retired_at: '2026-11-26T12:05:00.000Z' },
  ])
  const third = (await signingKey('rotate', '--leaked')).json.kid
  expect((await signingKey('status')).json).toEqual([{ kid: third, algorithm: 'ES256', signs: true }])
})

test('a retired key is kept until its last token has expired, and then removed by the next rotation or by prune', async () => {
  const { clock, signingKey } = await localKeys()
  const kids = [(await signingKey('create', '--algorithm', 'ES256')).json.kid]
  const kept = async () => (await signingKey('status')).json.map(({ kid }: { kid: string }) => kid)
  kids.unshift((await signingKey('rotate')).json.kid)
  clock.now += DAY_MS
  kids.unshift((await signingKey('rotate')).json.kid)
  expect(await kept()).toEqual(kids)
  expect((await signingKey('prune')).json).toEqual({ dropped: [] })
  // Since the first rotation, a day, the time of the handover and a minute for clocks that differ have passed.
  clock.now += (HANDOVER_SECONDS + 61) * 1000
  expect((await signingKey('prune')).json).toEqual({ dropped: [kids[2]] })
  expect(await kept()).toEqual(kids.slice(0, 2))
  clock.now += DAY_MS
  const newest = (await signingKey('rotate')).json.kid
  expect(await kept()).toEqual([newest, kids[0]])
})

test('without a signing key, rotate, status and prune end with exit code 1, and name the command that creates a key', async () => {
  const { signingKey } = await localKeys()
  for (const word of ['rotate', 'status', 'prune']) {
    const { code, stderr } = await signingKey(word)
    expect(stderr).toContain(
      'There is no signing key. Nothing was changed. To create one: npm run signing-key -- create',
    )
    expect(code).toBe(1)
  }
})

test('a second signing-key create changes nothing', async () => {
  const { signingKey } = await localKeys()
  const { json } = await signingKey('create')
  const { code, stderr } = await signingKey('create')
  expect(stderr).toContain(
    'There is a signing key already. Nothing was changed. To replace it: npm run signing-key -- rotate',
  )
  expect(code).toBe(1)
  expect((await signingKey('status')).json).toMatchObject([{ kid: json.kid }])
})

test.each([
  ['empty', ''],
  ['cut off', '{"SIGNING_KEY":"{\\"kty\\":\\"RSA'],
  ['an object without keys', '{}'],
  ['text in place of keys', '{"SIGNING_KEY":"x","PUBLISHED_KEYS":"y"}'],
  [
    'a public key',
    '{"SIGNING_KEY":"{\\"kty\\":\\"EC\\",\\"alg\\":\\"ES256\\",\\"kid\\":\\"k\\"}","PUBLISHED_KEYS":"{\\"keys\\":[]}"}',
  ],
])('signing-key commands name rotate as the remedy for a damaged key file (%s)', async (_, text) => {
  const { folder, file, signingKey } = await localKeys()
  await writeFile(file, text, { mode: 0o600 })
  for (const word of ['create', 'status', 'prune']) {
    const { code, stderr } = await signingKey(word)
    expect(stderr).toContain(`${file} has no usable signing key. Nothing was changed.`)
    expect(stderr).toContain(`npm run signing-key -- rotate --persist-to ${folder}`)
    expect(code).toBe(1)
  }
  const { json, stderr } = await signingKey('rotate')
  expect(stderr).toContain('The old key was damaged')
  expect((await signingKey('status')).json).toEqual([{ kid: json.kid, algorithm: 'RS256', signs: true }])
})

test('signing-key create in a folder that cannot be written to ends with exit code 1', async () => {
  const file = join(await newFolder(), 'file')
  await writeFile(file, '')
  for (const folder of [file, '/proc/oncekey']) {
    const { code, stderr } = await cli(['signing-key', 'create', '--persist-to', folder])
    expect(stderr).toMatch(/\.signing-key\.json cannot be written \((EEXIST|ENOENT)\)\. Nothing was changed\.\n$/)
    expect(code).toBe(1)
  }
})

test('if the local signing key is created twice at once, both callers get the same key', async () => {
  const folder = await newFolder()
  const both = await Promise.all([createLocalSecrets(folder, 'ES256'), createLocalSecrets(folder, 'ES256')])
  expect(both[0]).toEqual(both[1])
})
