import { beforeAll, describe, expect, inject, test } from 'vitest'
import { issueCredential, recogniseCredential } from '../../src/credential/credential.ts'
import { size } from '../sizes.ts'
import { decodeBase62 } from './base62.ts'

/**
 * Issued credentials, examined as numbers. 43 digits of 32 bytes cannot start with every digit, and a CRC-32 starts with
 * 0 to 4: the tests examine digits 2 to 43 of the entropy. Only a long run tests for a fair distribution, which a fair
 * generator misses now and then.
 */
const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const PREFIX = 'cs_0'
const POSITIONS = 42
const SAMPLE_SIZE = size(2_000, 1_000_000)
const PLANTED_SAMPLE_SIZE = 20_000

/** Draws credentials from the real generator, or from one with a planted fault. */
type Draw = () => Promise<string[]> | string[]

async function drawIssued(): Promise<string[]> {
  const drawn: string[] = []
  for (let i = 0; i < SAMPLE_SIZE; i++) drawn.push((await issueCredential('cs', '0')).plaintext)
  return drawn
}

const entropyDigits = (credential: string) => credential.slice(PREFIX.length, PREFIX.length + 43)
const digitAt = (credential: string, position: number) =>
  DIGITS.indexOf(credential.charAt(PREFIX.length + 1 + position))

function chiSquare(counts: Uint32Array): number {
  const total = counts.reduce((sum, count) => sum + count, 0)
  const expected = total / counts.length
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
}

/** The value that chi-square exceeds with the probability that belongs to `z` (Wilson and Hilferty). */
function bound(degreesOfFreedom: number, z: number): number {
  const ninth = 2 / (9 * degreesOfFreedom)
  return degreesOfFreedom * (1 - ninth + z * Math.sqrt(ninth)) ** 3
}

/** One in a thousand, and the same shared out among 42 positions (Bonferroni). */
const Z_THOUSANDTH = 3.0902
const Z_THOUSANDTH_OF_42 = 4.068

/** Each returns how far a sample is from a fair one: up to 1 is fair. */
const EXAMINATIONS: Record<string, (sample: string[]) => number> = {
  'every digit is equally frequent': (sample) => {
    const counts = new Uint32Array(62)
    for (const credential of sample) {
      for (let at = 0; at < POSITIONS; at++) increment(counts, digitAt(credential, at))
    }
    return chiSquare(counts) / 100.9 // 61 degrees of freedom, p = 0.001
  },
  'every digit is equally frequent at every position': (sample) => {
    const scores = Array.from({ length: POSITIONS }, (_, at) => {
      const counts = new Uint32Array(62)
      for (const credential of sample) increment(counts, digitAt(credential, at))
      return chiSquare(counts)
    })
    return Math.max(...scores) / bound(61, Z_THOUSANDTH_OF_42)
  },
  'every pair of digits is equally frequent': (sample) => {
    const counts = new Uint32Array(62 * 62)
    for (const credential of sample) {
      for (let at = 0; at < POSITIONS; at += 2) {
        increment(counts, digitAt(credential, at) * 62 + digitAt(credential, at + 1))
      }
    }
    return chiSquare(counts) / bound(62 * 62 - 1, Z_THOUSANDTH)
  },
  'every byte is equally frequent': (sample) => {
    const counts = new Uint32Array(256)
    for (const credential of sample.slice(0, 20_000)) {
      for (const byte of decodeBase62(entropyDigits(credential), 32) ?? []) increment(counts, byte)
    }
    return chiSquare(counts) / bound(255, Z_THOUSANDTH)
  },
}

function increment(counts: Uint32Array, cell: number): void {
  counts[cell] = (counts[cell] ?? 0) + 1
}

/** A fair generator exceeds a bound in one of 1,000 samples, so three times in a row in one of 10^9. */
async function isFair(examine: (sample: string[]) => number, draw: Draw, first?: string[]): Promise<boolean> {
  for (let attempt = 0; attempt < 3; attempt++) {
    if (examine(attempt === 0 && first ? first : await draw()) < 1) return true
  }
  return false
}

/** Generators with a fault, each with the examination that must find it. */
const PLANTED: [string, keyof typeof EXAMINATIONS, (digits: Uint8Array) => void][] = [
  [
    'byte % 62 for every digit',
    'every digit is equally frequent',
    (digits) => digits.set(digits.map(() => randomByte() % 62)),
  ],
  [
    'a last digit that is even in 11 of 20 cases',
    'every digit is equally frequent at every position',
    (digits) => {
      const last = digits[42] as number
      if (last % 2 === 1 && randomByte() < 26) digits[42] = last - 1
    },
  ],
  [
    'a digit that repeats the one before it too often, in 1 of 50 cases',
    'every pair of digits is equally frequent',
    (digits) => {
      for (let at = 2; at < 43; at += 2) if (randomByte() < 5) digits[at] = digits[at - 1] as number
    },
  ],
  [
    'a byte that is never 255',
    'every byte is equally frequent',
    (digits) => {
      while (decodeBase62(textOf(digits), 32)?.includes(255))
        digits.set(digits.map((_, at) => (at === 0 ? 0 : randomDigit())))
    },
  ],
]

let pool = new Uint8Array()
let used = 0
function randomByte(): number {
  if (used === pool.length) {
    pool = crypto.getRandomValues(new Uint8Array(65_536))
    used = 0
  }
  return pool[used++] as number
}

/** A fair digit, by rejection. */
function randomDigit(): number {
  const byte = randomByte()
  return byte < 248 ? byte % 62 : randomDigit()
}

const textOf = (digits: Uint8Array) => [...digits].map((digit) => DIGITS[digit]).join('')

function drawPlanted(spoil: (digits: Uint8Array) => void): string[] {
  return Array.from({ length: PLANTED_SAMPLE_SIZE }, () => {
    const digits = Uint8Array.from({ length: 43 }, (_, at) => (at === 0 ? 0 : randomDigit()))
    spoil(digits)
    return `${PREFIX}${textOf(digits)}000000`
  })
}

describe(`${SAMPLE_SIZE.toLocaleString('en')} issued credentials`, () => {
  let issued: string[] = []
  beforeAll(async () => {
    issued = await drawIssued()
  }, 60_000)

  test('issued credentials have the published form and checksum, and are all different', () => {
    expect(issued.filter((credential) => !/^cs_0[0-9A-Za-z]{43}[0-4][0-9A-Za-z]{5}$/.test(credential))).toEqual([])
    expect(new Set(issued).size).toBe(SAMPLE_SIZE)
    expect(new Set(issued.map(entropyDigits)).size).toBe(SAMPLE_SIZE)
    for (const credential of issued.slice(0, 1000)) expect(recogniseCredential(credential)).not.toBeNull()
  })

  test('among many issued credentials, every base62 digit occurs at each of the positions 2 to 43 after the region', () => {
    for (let at = 0; at < POSITIONS; at++)
      expect(new Set(issued.map((credential) => digitAt(credential, at))).size, `digit ${at + 2}`).toBe(DIGITS.length)
  })

  test('each issued credential has more than 96 bits of Shannon entropy, as the OpenID conformance suite requires', () => {
    const bits = (text: string) => {
      const counts = Map.groupBy(text, (symbol) => symbol)
      const perSymbol = [...counts.values()].reduce(
        (sum, { length }) => sum - (length / text.length) * Math.log2(length / text.length),
        0,
      )
      return perSymbol * text.length
    }
    expect(bits('a'.repeat(53))).toBe(0)
    expect(Math.min(...issued.slice(0, 20_000).map(bits))).toBeGreaterThan(96)
  })

  test.runIf(inject('isLong')).each(Object.entries(EXAMINATIONS))(
    'issued credentials pass the randomness test: %s',
    async (_, examine) => {
      expect(await isFair(examine, drawIssued, issued)).toBe(true)
    },
  )
})

describe.runIf(inject('isLong'))('the randomness tests find planted faults', () => {
  test.each(PLANTED)('a randomness test finds the planted fault: %s', async (_, examination, spoil) => {
    const examine = EXAMINATIONS[examination] as (sample: string[]) => number
    expect(await isFair(examine, () => drawPlanted(spoil))).toBe(false)
  })
})
