import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parse } from 'yaml'

const read = (path: string) => parse(readFileSync(`.github/${path}`, 'utf8'))

test.each(readdirSync('.github/workflows'))('%s names each action by the digest of its commit', (file) => {
  const { jobs } = read(`workflows/${file}`) as { jobs: Record<string, { steps: { uses?: string }[] }> }
  const used = Object.values(jobs).flatMap(({ steps }) => steps.flatMap(({ uses }) => uses ?? []))
  expect(used.length).toBeGreaterThan(0)
  expect(used.filter((action) => !/@[\da-f]{40}$/.test(action))).toEqual([])
})

test('Dependabot raises actions and npm packages', () => {
  const { updates } = read('dependabot.yml') as { updates: { 'package-ecosystem': string }[] }
  expect(updates.map((update) => update['package-ecosystem'])).toEqual(['github-actions', 'npm'])
})

test('every test that SECURITY.md names exists', () => {
  const links = [...readFileSync('.github/SECURITY.md', 'utf8').matchAll(/\]\((\.\.\/test\/[^)]+)\)/g)].map(
    ([, path]) => path,
  )
  expect(links.length).toBeGreaterThan(10)
  expect(links.filter((path) => !existsSync(`.github/${path}`))).toEqual([])
})
