import { readdirSync, readFileSync } from 'node:fs'
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
