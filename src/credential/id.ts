import { DEFAULT_REGION } from './credential.ts'

/** The prefix of each kind of object's ID. WorkOS has the same ones, for the objects that it has. */
export type IdPrefix = 'env' | 'client' | 'api_key' | 'session' | 'conn_app' | 'secret' | 'event' | 'we'

/** Crockford's base 32, which omits I, L, O and U. */
const SYMBOLS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const TIME_SYMBOLS = 10
const RANDOM_SYMBOLS = 15

/**
 * Makes an ID: the prefix and a ULID (https://github.com/ulid/spec). Its ten symbols of `now` (Unix ms) make IDs sort
 * by time. The region replaces the first random symbol; fifteen others, 75 bits, are random.
 */
export function newId(prefix: IdPrefix, now: number, region: string = DEFAULT_REGION): string {
  const random = crypto.getRandomValues(new Uint8Array(RANDOM_SYMBOLS))
  return `${startOfIds(prefix, now)}${region}${Array.from(random, (byte) => SYMBOLS.charAt(byte % 32)).join('')}`
}

/** The lowest ID of the time `now` (Unix ms): every earlier ID sorts before it, and every later one after it. */
export function startOfIds(prefix: IdPrefix, now: number): string {
  let time = ''
  for (let left = now; time.length < TIME_SYMBOLS; left = Math.floor(left / 32)) time = SYMBOLS.charAt(left % 32) + time
  return `${prefix}_${time}`
}

const ID = new RegExp(`^[a-z_]+_([0-7][${SYMBOLS}]{${TIME_SYMBOLS - 1}})[${SYMBOLS}]{${1 + RANDOM_SYMBOLS}}$`)

/** The time in an ID, Unix ms; null if it is malformed. */
export function timeOfId(id: string): number | null {
  const time = ID.exec(id)?.[1]
  return time === undefined ? null : [...time].reduce((ms, symbol) => ms * 32 + SYMBOLS.indexOf(symbol), 0)
}

/** True if a digit can be a region's: it must be a symbol of IDs and of credentials. */
export function isRegionDigit(text: string): boolean {
  return text.length === 1 && SYMBOLS.includes(text)
}

/** The region of an ID that `newId` made: the symbol before the random ones. */
export function regionOfId(id: string): string {
  return id.at(-1 - RANDOM_SYMBOLS) ?? DEFAULT_REGION
}

/** The ID of another kind, with the time `now` (Unix ms) and the other symbols of `id`: the same one every time. */
export function derivedId(prefix: IdPrefix, now: number, id: string): string {
  return newId(prefix, now, regionOfId(id)).slice(0, -RANDOM_SYMBOLS) + id.slice(-RANDOM_SYMBOLS)
}
