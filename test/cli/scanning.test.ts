import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { issueCredential, recogniseCredential } from '../../src/credential/credential.ts'
import { size } from '../sizes.ts'

/** The rule files for secret scanners, read as the scanners read them. */

const read = (file: string) => readFileSync(`.github/scanning/${file}`, 'utf8')
const gitleaks = [
  ...read('gitleaks.toml').matchAll(/^regex = '''(.*)'''\nkeywords = \["(.*)"\]\nentropy = (.*)$/gm),
].map(([, regex = '', keyword = '', entropy]) => ({ regex, keyword, entropy: Number(entropy) }))
const { detectors } = parse(read('trufflehog.yaml')) as {
  detectors: { keywords: [string]; regex: { credential: string } }[]
}
const trufflehog = detectors.map(({ keywords: [keyword], regex }) => ({ regex: regex.credential, keyword, entropy: 0 }))

const PREFIXES = ['cs', 'sk', 'session', 'whsec']

test('gitleaks.toml and trufflehog.yaml have the same rules, one for each kind of credential', () => {
  for (const rules of [gitleaks, trufflehog]) {
    expect(rules.map(({ keyword }) => keyword)).toEqual(PREFIXES.map((prefix) => `${prefix}_`))
    expect(rules.map(({ regex }) => regex)).toEqual(gitleaks.map(({ regex }) => regex))
  }
  // RE2 has no lookaround and no backreference.
  for (const { regex } of gitleaks) expect(regex).not.toMatch(/\(\?[=!<]|\\\d/)
})

/** The Shannon entropy, in bits per character, as gitleaks computes it. */
function entropyOf(text: string): number {
  const counts = new Map<string, number>()
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
  return [...counts.values()].reduce((sum, count) => sum - (count / text.length) * Math.log2(count / text.length), 0)
}

/** The credentials that the rules find in a text. */
function found(text: string): string[] {
  return gitleaks.flatMap(({ regex, keyword, entropy }) =>
    text.includes(keyword)
      ? [...text.matchAll(new RegExp(regex, 'g'))]
          .map(([, secret = '']) => secret)
          .filter((s) => entropyOf(s) > entropy)
      : [],
  )
}

test.each(PREFIXES)(
  'the scanning rules find every credential with the prefix %s, in code, in a URL and in a settings file',
  async (prefix) => {
    for (let i = 0; i < size(200, 20_000); i++) {
      const { plaintext } = await issueCredential(prefix, '0123456789ABCDEFGHJKMNPQRSTVWXYZ'.charAt(i % 32))
      const text = `SECRET=${plaintext}\n{"secret":"${plaintext}"} https://example.com/?secret=${plaintext}&x=1 '${plaintext}'.`
      expect(found(text)).toEqual(Array(4).fill(plaintext))
    }
  },
)

describe('text that looks like a credential', async () => {
  const { plaintext } = await issueCredential('cs', '0')
  const random = plaintext.slice(4, 36)

  test.each([
    ['a credential without its last character', plaintext.slice(0, -1)],
    ['a credential with one character more', `${plaintext}x`],
    ['a credential inside a word', `abc${plaintext}`],
    ['a credential with a letter that is no region digit', plaintext.replace('cs_0', 'cs_I')],
    ['a credential with a first digit that no 256-bit number has', plaintext.replace(/^cs_0./, 'cs_0z')],
    ['a credential with an upper-case prefix', plaintext.replace('cs_', 'CS_')],
    ['a credential with a hyphen', plaintext.replace('_', '-')],
    ['a placeholder', `cs_0${'x'.repeat(49)}`],
    ['a Stripe key', `sk_live_${random}`],
    ['a long Stripe key', `sk_live_51${random}${random}${random}`],
    ['an OpenAI key', `sk-proj-${random}${random}`],
    ['a Stripe signing secret', `whsec_${random}`],
    ['a Svix signing secret', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw=='],
    ['a session ID', `session_${'0123456789abcdef'.repeat(2)}`],
    ['a GitHub token', `ghp_${random}abcd`],
    ['our own IDs', 'secret_01M803YE9G0KNRHDA05SZX2RC0 conn_app_01M803Y22G02C0Z13KPM3Z6A7X'],
  ])('the scanning rules do not find %s', (_, text) => {
    expect(found(text)).toEqual([])
  })

  test('a random text in the form of a secret matches the pattern, but has a wrong checksum', () => {
    const letters = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
    const samples = Array.from({ length: size(500, 50_000) }, () => {
      const bytes = crypto.getRandomValues(new Uint8Array(48))
      return `cs_0A${Array.from(bytes, (byte) => letters.charAt(byte % 62)).join('')}`
    })
    expect(samples.every((text) => found(text)[0] === text)).toBe(true)
    expect(samples.filter((text) => recogniseCredential(text))).toEqual([])
  })
})
