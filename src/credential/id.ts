import { DEFAULT_REGION } from './credential.ts'

/** What each kind of object's id starts with, as WorkOS names them where WorkOS has them. */
export type IdPrefix = 'env' | 'client' | 'api_key' | 'session' | 'conn_app' | 'secret' | 'event' | 'we'

/** Crockford's base 32: without I, L, O and U. */
const SYMBOLS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const TIME_SYMBOLS = 10
const RANDOM_SYMBOLS = 15

/**
 * Makes an id: the prefix and a ULID (https://github.com/ulid/spec): ten symbols of `now` (unix ms), so that ids sort by
 * time; the region in place of the first random symbol; fifteen random ones, 75 bits.
 */
export function newId(prefix: IdPrefix, now: number, region: string = DEFAULT_REGION): string {
  let time = ''
  for (let left = now; time.length < TIME_SYMBOLS; left = Math.floor(left / 32)) time = SYMBOLS.charAt(left % 32) + time
  const random = crypto.getRandomValues(new Uint8Array(RANDOM_SYMBOLS))
  return `${prefix}_${time}${region}${Array.from(random, (byte) => SYMBOLS.charAt(byte % 32)).join('')}`
}
