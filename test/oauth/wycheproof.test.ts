import { compactVerify, createLocalJWKSet, importSPKI, type JWK } from 'jose'
import { describe, expect, inject, test } from 'vitest'
import { SIGNING_ALGORITHMS } from '../../src/credential/signing-key.ts'

/**
 * C2SP's Wycheproof vectors, which are not part of this project. To run them:
 *
 *     git clone https://github.com/C2SP/wycheproof
 *     WYCHEPROOF=$PWD/wycheproof/testvectors_v1 npm test -- --project workerd test/oauth/wycheproof
 */
interface Wycheproof {
  /** json_web_signature_test.json */
  readonly jws: { readonly testGroups: { public?: JWK; private: JWK; tests: (Vector & { jws: string })[] }[] }
  /** rsa_signature_2048_sha256_test.json */
  readonly rsa: { readonly testGroups: SignatureGroup[] }
  /** ecdsa_secp256r1_sha256_p1363_test.json */
  readonly ecdsa: { readonly testGroups: SignatureGroup[] }
}
interface Vector {
  readonly tcId: number
  readonly comment: string
  /** This runtime refuses `acceptable` ones: RSA signatures without their NULL. */
  readonly result: 'valid' | 'invalid' | 'acceptable'
}
interface SignatureGroup {
  readonly publicKeyPem: string
  /** `msg` and `sig` in hexadecimal. */
  readonly tests: (Vector & { readonly msg: string; readonly sig: string })[]
}

declare module 'vitest' {
  interface ProvidedContext {
    wycheproof: Wycheproof | null
  }
}

const given = inject('wycheproof')
const none = { testGroups: [] }
const { jws, rsa, ecdsa } = given ?? { jws: none, rsa: none, ecdsa: none }

test.skipIf(!given)('the folder in the variable WYCHEPROOF has the test vectors', () => {
  expect(jws.testGroups.length * rsa.testGroups.length * ecdsa.testGroups.length).toBeGreaterThan(0)
})

const algorithms = [...SIGNING_ALGORITHMS] as string[]
const fromHex = (text: string) => Uint8Array.from(text.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16))
const titled = <V extends Vector>(vectors: V[]) =>
  vectors.map((vector) => ({ ...vector, title: `${vector.tcId} ${vector.result}: ${vector.comment || 'plain'}` }))

describe.skipIf(!given)('a JWS is accepted only if it is valid and signed with RS256 or ES256 (RFC 7515)', () => {
  const vectors = titled(
    jws.testGroups.flatMap((group) => group.tests.map((vector) => ({ ...vector, key: group.public ?? group.private }))),
  )

  /** jose accepts some malformed ones, which is harmless if their signature is valid. */
  const isOurs = (token: string) => {
    const header = token.split('.')[0] ?? ''
    return algorithms.includes(JSON.parse(atob(header.replace(/[^\w-]/g, ''))).alg)
  }

  test.each(vectors)('$title', async ({ jws, key, result }) => {
    const verifying = compactVerify(jws, createLocalJWKSet({ keys: [key] }), { algorithms })
    const isAccepted = await verifying.then(() => true).catch(() => false)
    expect(isAccepted).toBe(result === 'valid' && isOurs(jws))
  })
})

describe.skipIf(!given).each([
  ['RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits', 'RS256', rsa.testGroups],
  ['ECDSA on P-256 with SHA-256, r and s side by side', 'ES256', ecdsa.testGroups],
] as const)('%s', (_, alg, groups) => {
  const vectors = titled(
    groups.flatMap(({ publicKeyPem, tests }) => tests.map((vector) => ({ ...vector, publicKeyPem }))),
  )

  test.each(vectors)('$title', async ({ publicKeyPem, msg, sig, result }) => {
    const key = await importSPKI(publicKeyPem, alg)
    const algorithm = { name: key.algorithm.name, hash: 'SHA-256' }
    const isAccepted = await crypto.subtle.verify(algorithm, key, fromHex(sig), fromHex(msg))
    expect(isAccepted).toBe(result === 'valid')
  })
})
