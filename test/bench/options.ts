import { parseArgs } from 'node:util'
import { type Operation, operations } from './operations.ts'

export interface Options {
  readonly operations: readonly Operation[]
  readonly connections: readonly number[]
  readonly rounds: number
  /** How long one turn lasts. */
  readonly seconds: number
  /** Whether the product is also measured with the rate limits' local simulation. */
  readonly hasLimited: boolean
  /** How many rounds may be repeated because others disturbed them. */
  readonly repeats: number
  readonly mode: 'floors' | 'growth' | 'profile'
  /** A file for the results as JSON. */
  readonly json: string | undefined
}

export const USAGE = `npm run bench -- [options]

Measures the production bundle in workerd over D1 on disk, beside a bare Worker that does the same job.

  --quick             takes about a minute: 16 connections, three short rounds, no rate limits
  --only NAMES        some operations, such as create,token
  --connections LIST  such as 1,16,64
  --rounds N          how often each Worker has its turn (7)
  --seconds N         how long a turn lasts (1)
  --growth            10, 10,000 and 1,000,000 secrets, and the query plan of every statement
  --profile           where the Worker's and D1's time goes
  --json FILE         writes the results as JSON, too

Operations: ${operations.map(({ name }) => name).join(', ')}`

/** Reads the command line. Throws an Error with a sentence for the person who typed it. */
export function readOptions(args: readonly string[]): Options | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      connections: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      growth: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  const rounds = positive(values.rounds ?? (values.quick ? '3' : '7'))
  const isShort = values.quick || values.growth || values.profile
  return {
    operations: values.only === undefined ? operations : values.only.split(',').map(operationNamed),
    connections: (values.connections ?? (isShort ? '16' : '1,16,64')).split(',').map((text) => positive(text)),
    rounds,
    seconds: positive(values.seconds ?? (values.quick ? '0.2' : '1')),
    hasLimited: !values.quick,
    repeats: values.quick ? 0 : rounds,
    mode: values.growth ? 'growth' : values.profile ? 'profile' : 'floors',
    json: values.json,
  }
}

function operationNamed(name: string): Operation {
  const operation = operations.find((one) => one.name === name)
  if (!operation)
    throw new Error(`No operation is called ${name}. There are: ${operations.map((one) => one.name).join(', ')}.`)
  return operation
}

function positive(text: string): number {
  const number = Number(text)
  if (!(number > 0)) throw new Error(`${text} is not a positive number.`)
  return number
}
