import { describe, expect, inject, test } from 'vitest'
import { atEnd } from '../at-end.ts'
import type { Plant } from '../grid/plants.ts'
import { Grid } from '../grid/product.ts'
import { REQUESTS } from '../grid/requests.ts'
import { runGrid } from '../grid/run.ts'
import { seed, size } from '../sizes.ts'

/** A sample of `npm run test:grid`: faults of the database at the statements of every route. */

const grid = await Grid.start(inject('bundle').script)
atEnd(() => grid.stop())

test('when the database fails at any statement of a route, no change is lost or made twice, and no response guesses the outcome', async () => {
  // A third of the routes with each seed, and some of them in the second region.
  const third = REQUESTS.filter((_, i) => i % 3 === seed % 3)
  const report = await runGrid(grid, {
    seed,
    cases: size(40, 5_000),
    ...(!inject('isLong') && { requests: third, regions: ['0'], skipsBehind: true }),
  })
  const there = await runGrid(grid, { seed, cases: 5, regions: ['1'], requests: third.slice(0, 5), skipsBehind: true })
  const { failures, cases, statuses } = report
  expect([...failures, ...there.failures]).toEqual([])
  expect(cases).toBe(size(40, 5_000))
  expect([...statuses.keys()]).toEqual(expect.arrayContaining([200, 503]))
})

describe('the grid of database failures', () => {
  const OVERLOADED = 'D1_ERROR: D1 DB is overloaded. Too many requests queued.'
  const LOST = 'D1_ERROR: Network connection lost.'
  const CREATE = 'POST /connect/applications/{id}/client_secrets'
  const REVOKE = 'DELETE /connect/client_secrets/{id}'

  test.each<[Plant, route: string, only: string, words: string]>([
    ['lost write', REVOKE, `0 before 0: ${LOST}`, 'it is acknowledged, and did something else'],
    ['doubled event', CREATE, `0 after: ${LOST}`, 'it is acknowledged, and did something else'],
    ['late commit', CREATE, '0 stalled', 'it was refused, and took effect all the same'],
    ['guessed verdict', 'GET /connect/client_secrets/{id}', `0 before 0: ${OVERLOADED}`, 'it guesses: 401'],
    ['torn change', CREATE, `0 before 1: ${OVERLOADED}`, 'it took effect in part, or twice'],
    ['logged credential', REVOKE, `0 before 0: ${OVERLOADED}`, 'the log has a credential'],
    ['skipped tenant condition', REVOKE, 'objects of another environment', 'another environment: '],
  ])('the grid of database failures finds a planted fault: %s', async (plant, route, only, words) => {
    const requests = REQUESTS.filter(({ name }) => name === route)
    const found = async (options: object) =>
      (await runGrid(grid, { seed, requests, only: `0 ${route}: ${only}`, ...options })).failures
    expect(await found({})).toEqual([])
    expect((await found({ plant })).join()).toContain(words)
  })
})
