import { expect, test } from 'vitest'
import { MAX_T, welch } from '../bench/welch.ts'
import { randomFrom } from '../random.ts'

/** Times around 500, with a tail as real ones have. */
function times(shift: number, random: () => number): number[] {
  return Array.from({ length: 20_000 }, () => 500 + shift - 50 * Math.log(1 - random()))
}

test('the comparison of response times finds a difference of 1 %, and finds none between equal samples', () => {
  const random = randomFrom(1)
  const found = welch(times(5, random), times(0, random))
  expect(found.t).toBeGreaterThan(MAX_T)
  expect(Math.abs(found.difference - 5)).toBeLessThan(found.halfInterval)
  expect(Math.abs(welch(times(0, random), times(0, random)).t)).toBeLessThan(MAX_T)
})
