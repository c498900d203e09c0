/** Welch's t-test of two samples that may differ in variance. */

export interface Comparison {
  /** Values of |t| from 4.5 on are a difference that chance makes once in 100,000 comparisons. */
  readonly t: number
  /** The difference of the means, and half of its 95 % confidence interval, in the unit of the samples. */
  readonly difference: number
  readonly halfInterval: number
}

export const MAX_T = 4.5

export function welch(a: readonly number[], b: readonly number[]): Comparison {
  const [first, second] = [momentsOf(a), momentsOf(b)]
  const error = Math.sqrt(first.variance / a.length + second.variance / b.length)
  const difference = first.mean - second.mean
  return { t: difference / error, difference, halfInterval: 1.96 * error }
}

function momentsOf(values: readonly number[]): { mean: number; variance: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { mean, variance: squares / (values.length - 1) }
}
