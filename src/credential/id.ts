import { ulid } from 'ulid'
import { DEFAULT_REGION } from './credential.ts'

/** What each kind of object's id starts with, as WorkOS names them where WorkOS has them. */
export type IdPrefix = 'env' | 'client' | 'api_key' | 'session' | 'conn_app' | 'secret' | 'event' | 'we'

/** Where the region stands in a ULID: its first symbol behind the ten of the time. 75 random bits follow. */
const REGION_INDEX = 10

/** Makes an id: the prefix and a ULID of `now` (unix ms) that names its region. */
export function newId(prefix: IdPrefix, now: number, region: string = DEFAULT_REGION): string {
  const symbols = ulid(now)
  return `${prefix}_${symbols.slice(0, REGION_INDEX)}${region}${symbols.slice(REGION_INDEX + 1)}`
}
