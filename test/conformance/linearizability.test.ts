import { describe, expect, inject, test } from 'vitest'
import { newSigningKey } from '../../src/credential/signing-key.ts'
import { atEnd } from '../at-end.ts'
import { Runtime } from '../bench/runtime.ts'
import { gridWorker } from '../grid/product.ts'
import { isLinearizable, type Operation } from '../linear/checker.ts'
import { recordHistories } from '../linear/histories.ts'
import { seed, size } from '../sizes.ts'

/** Two Workers over one database behave as one secret after the other would, whichever of them a client calls. */

const { script } = inject('bundle')
const wrapper = await gridWorker()
const bindings = {
  ISSUER: 'http://127.0.0.1:8787',
  SIGNING_KEY: JSON.stringify(await newSigningKey('ES256')),
  MAX_SECRETS_PER_APPLICATION: 100,
  REQUEST_BUDGET_MS: 30_000,
}
const names = ['one', 'two']
const runtime = await Runtime.start(names.map((name) => ({ name, script, wrapper, database: 'linear', bindings })))
atEnd(() => runtime.stop())
const workers = { urls: names.map((name) => runtime.url(name)), database: runtime.database('linear'), seed }

const SECRETS = size(12, 500)

test(`the changes and uses of each of ${SECRETS} secrets at two Workers are linearizable`, async () => {
  const histories = await recordHistories({ ...workers, secrets: SECRETS })
  expect(histories.filter((history) => !isLinearizable(history))).toEqual([])
  const results = new Set(histories.flat().map(({ kind, result }) => `${kind} ${result}`))
  expect([...results]).toEqual(expect.arrayContaining(['use done', 'use refused', 'disable done', 'enable done']))
})

test.each(['stale read', 'lost write'] as const)(
  'the checker of linearizability finds a Worker with a %s',
  async (plant) => {
    const histories = await recordHistories({ ...workers, plant, secrets: 16 })
    expect(histories.every(isLinearizable)).toBe(false)
  },
)

describe('the checker of linearizability', () => {
  /** Operations in the order of their starts; `during`: the operation overlaps with the next one. */
  const history = (...operations: [kind: Operation['kind'], result: Operation['result'], during?: 'during'][]) =>
    operations.map(
      ([kind, result, during], i): Operation => ({ kind, result, start: i, end: during ? i + 1.5 : i + 0.5 }),
    )

  test.each<[string, boolean, Operation[]]>([
    ['accepts a successful use', true, history(['create', 'done'], ['use', 'done'])],
    [
      'accepts a refused use after the revocation',
      true,
      history(['create', 'done'], ['revoke', 'done'], ['use', 'refused']),
    ],
    [
      'finds a successful use after the revocation',
      false,
      history(['create', 'done'], ['revoke', 'done'], ['use', 'done']),
    ],
    ['finds a lost create', false, history(['create', 'done'], ['use', 'refused'])],
    [
      'accepts a successful use during the revocation',
      true,
      history(['create', 'done'], ['revoke', 'done', 'during'], ['use', 'done']),
    ],
    [
      'finds a successful use after a refused one during the revocation',
      false,
      history(['create', 'done'], ['revoke', 'done', 'during'], ['use', 'refused'], ['use', 'done']),
    ],
    ['finds a lost disable', false, history(['create', 'done'], ['disable', 'done'], ['use', 'done'])],
    [
      'accepts either outcome of a revocation whose outcome is unknown',
      true,
      history(['create', 'done'], ['revoke', 'unknown'], ['use', 'done'], ['use', 'refused']),
    ],
    [
      'finds a secret that works again after a revocation whose outcome is unknown',
      false,
      history(['create', 'done'], ['revoke', 'unknown'], ['use', 'refused'], ['use', 'done']),
    ],
  ])('the checker of linearizability %s', (_, expected, operations) =>
    expect(isLinearizable(operations)).toBe(expected),
  )
})
