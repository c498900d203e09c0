import { isRegionDigit } from '../credential/id.ts'

/** A region: the database that its environments are in. */
export interface Region {
  /** The symbol that every credential and ID of the region carries. */
  readonly digit: string
  /** The binding of its D1 database. */
  readonly binding: string
}

const REGION = /^(.)=([A-Za-z_][A-Za-z0-9_]*)$/

/**
 * Reads regions as `0=DB,1=DB_WEUR`. Undefined if the text is malformed, or has a digit or a binding twice. The first
 * region is the default of new environments.
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
