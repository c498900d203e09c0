/**
 * A checker for linearizability after Wing and Gong, "Testing and Verifying Concurrent Objects" (1993): it searches for an
 * order of the operations that respects real time and that one secret alone could have. Secrets are independent of each
 * other, so that each history is of one secret.
 */

export interface Operation {
  readonly kind: 'create' | 'use' | 'disable' | 'enable' | 'revoke'
  /** `refused`: the use was not accepted, or the secret is gone. `unknown`: there was no answer that tells. */
  readonly result: 'done' | 'refused' | 'unknown'
  /** When the request was sent, and when its answer had been read. */
  readonly start: number
  readonly end: number
}

type State = 'absent' | 'active' | 'disabled' | 'revoked'

/** The state after an operation, and its only right result. */
function apply(state: State, kind: Operation['kind']): { readonly next: State; readonly result: 'done' | 'refused' } {
  if (kind === 'create') return { next: 'active', result: 'done' }
  if (kind === 'use') return { next: state, result: state === 'active' ? 'done' : 'refused' }
  if (kind === 'revoke') return { next: 'revoked', result: state === 'absent' ? 'refused' : 'done' }
  if (state === 'absent' || state === 'revoked') return { next: state, result: 'refused' }
  return { next: kind === 'disable' ? 'disabled' : 'active', result: 'done' }
}

/** True if the operations can have happened one after the other, each between its start and its end. */
export function isLinearizable(operations: readonly Operation[]): boolean {
  const ends = operations.map(({ result, end }) => (result === 'unknown' ? Number.POSITIVE_INFINITY : end))
  const failed = new Set<string>()
  const search = (left: readonly number[], state: State): boolean => {
    if (left.every((i) => operations[i]?.result === 'unknown')) return true
    const key = `${left} ${state}`
    if (failed.has(key)) return false
    const firstEnd = Math.min(...left.map((i) => ends[i] as number))
    for (const i of left) {
      const { kind, result, start } = operations[i] as Operation
      // One that began after another had ended comes after it.
      if (start > firstEnd) continue
      const others = left.filter((other) => other !== i)
      const applied = apply(state, kind)
      if ((result === 'unknown' || result === applied.result) && search(others, applied.next)) return true
      if (result === 'unknown' && search(others, state)) return true
    }
    failed.add(key)
    return false
  }
  return search([...operations.keys()], 'absent')
}
