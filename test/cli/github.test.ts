import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parse } from 'yaml'

const read = (path: string) => parse(readFileSync(`.github/${path}`, 'utf8'))

test.each(readdirSync('.github/workflows'))('the workflow %s pins each action to a commit hash', (file) => {
  const { jobs } = read(`workflows/${file}`) as { jobs: Record<string, { steps: { uses?: string }[] }> }
  const used = Object.values(jobs).flatMap(({ steps }) => steps.flatMap(({ uses }) => uses ?? []))
  expect(used.length).toBeGreaterThan(0)
  expect(used.filter((action) => !/@[\da-f]{40}$/.test(action))).toEqual([])
})

test('Dependabot is configured for GitHub Actions and npm packages', () => {
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
