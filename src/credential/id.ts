import { DEFAULT_REGION } from './credential.ts'

/** The ID prefix of each kind of object. The prefixes of objects that WorkOS also has are the same as in WorkOS. */
export type IdPrefix = 'env' | 'client' | 'api_key' | 'session' | 'conn_app' | 'secret' | 'event' | 'we'

/** Crockford's base 32, which omits I, L, O and U. */
const SYMBOLS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const TIME_SYMBOLS = 10
/** The place value of each symbol of a time, the highest first. */
const PLACES = Array.from({ length: TIME_SYMBOLS }, (_, i) => 32 ** (TIME_SYMBOLS - 1 - i))
const RANDOM_SYMBOLS = 15

/**
 * Creates an ID: the prefix and a ULID (https://github.com/ulid/spec). The first ten symbols encode `now` (Unix ms), so
 * that IDs sort by time. The next symbol is the region, in place of the first random symbol. The last fifteen symbols
 * are random (75 bits).
 */
export function newId(prefix: IdPrefix, now: number, region: string = DEFAULT_REGION): string {
  const random = crypto.getRandomValues(new Uint8Array(RANDOM_SYMBOLS))
  return `${startOfIds(prefix, now)}${region}${Array.from(random, (byte) => SYMBOLS.charAt(byte % 32)).join('')}`
}

/**
 * Returns the start of all IDs of the time `now` (Unix ms). IDs of earlier times sort before it; IDs of this and later
 * times sort after it. Throws if the time is not between 1970 and 10889.
 */
export function startOfIds(prefix: IdPrefix, now: number): string {
  if (!(now >= 0 && now < 2 ** 48)) throw new RangeError(`${now} is not the time of an ID`)
  const time = Array.from(PLACES, (place) => SYMBOLS.charAt(Math.floor(now / place) % 32))
  return `${prefix}_${time.join('')}`
}

const ID = new RegExp(`^[a-z_]+_([0-7][${SYMBOLS}]{${TIME_SYMBOLS - 1}})[${SYMBOLS}]{${1 + RANDOM_SYMBOLS}}$`)

/** Returns the time of an ID in Unix ms; null if the ID is malformed. */
export function timeOfId(id: string): number | null {
  const time = ID.exec(id)?.[1]
  return time === undefined ? null : [...time].reduce((ms, symbol) => ms * 32 + SYMBOLS.indexOf(symbol), 0)
}

/** Returns true if a text can be the digit of a region: one symbol that is allowed in IDs and credentials. */
export function isRegionDigit(text: string): boolean {
  return text.length === 1 && SYMBOLS.includes(text)
}

/** Returns the region of an ID that `newId` created. It is the symbol before the random symbols. */
export function regionOfId(id: string): string {
  return id.at(-1 - RANDOM_SYMBOLS) ?? DEFAULT_REGION
}

/**
 * Creates an ID of another kind, with the time `now` (Unix ms) and the region and random symbols of `id`. The same
 * arguments always give the same ID.
 */
export function derivedId(prefix: IdPrefix, now: number, id: string): string {
  return newId(prefix, now, regionOfId(id)).slice(0, -RANDOM_SYMBOLS) + id.slice(-RANDOM_SYMBOLS)
}
