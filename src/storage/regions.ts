import { isRegionDigit } from '../credential/id.ts'

/** A region, which is a D1 database for environments. */
export interface Region {
  /** The symbol of the region in credentials and IDs. */
  readonly digit: string
  /** The binding of its D1 database. */
  readonly binding: string
}

const REGION = /^(.)=([A-Za-z_][A-Za-z0-9_]*)$/

/**
 * Parses regions, such as `0=DB,1=DB_WEUR`. Returns undefined if the text is malformed, or if it repeats a digit or a
 * binding. The first region is the default for new environments.
 */
export function parseRegions(text: string): readonly Region[] | undefined {
  const regions: Region[] = []
  for (const part of text.split(',')) {
    const [, digit = '', binding = ''] = REGION.exec(part) ?? []
    if (!isRegionDigit(digit) || regions.some((other) => other.digit === digit || other.binding === binding)) return
    regions.push({ digit, binding })
  }
  return regions
}
