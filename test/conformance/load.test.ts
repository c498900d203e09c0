import { describe, expect, inject, test } from 'vitest'
import { problemsOf, runLoad } from '../load/run.ts'
import { seed, size } from '../sizes.ts'

test('under twice the sustained load, no change is lost or made twice, and every refused request gets Retry-After', async () => {
  const report = await runLoad({ script: inject('bundle').script, rate: 40, seconds: size(1, 60), seed, batchMs: 20 })
  expect(report.problems).toEqual([])
  expect(report.totals.creates).toBeGreaterThan(0)
  expect(report.totals.uses).toBeGreaterThan(0)
})

describe('the check of a load test', () => {
  const phase = {
    rate: 100,
    succeeded: 100,
    statuses: { 200: 100 },
    problems: {},
    p50: 10,
    p99: 20,
    refusedP99: 5,
    mostPending: 9,
  }
  const good = {
    heldRate: 100,
    hold: phase,
    overload: { ...phase, rate: 200 },
    recovery: phase,
    memory: { before: 200, peak: 250, after: 210 },
    totals: {},
  }

  test('the check of a load test finds no problem in a good run', () => expect(problemsOf(good)).toEqual([]))

  test.each<[string, object, string]>([
    ['a 500', { overload: { ...phase, problems: { 'status 500': 3 } } }, 'overload: 3 × status 500'],
    ['a successful request that took too long', { overload: { ...phase, p99: 9_000 } }, 'p99 of successes is 9000 ms'],
    [
      'an overload without successes',
      { overload: { ...phase, p99: Number.NaN, succeeded: 0 } },
      '0 successes a second',
    ],
    ['memory that is not released', { memory: { before: 200, peak: 900, after: 900 } }, '900 MiB afterwards'],
  ])('the check of a load test finds %s', (_, change, words) =>
    expect(problemsOf({ ...good, ...change }).join()).toContain(words),
  )
})
