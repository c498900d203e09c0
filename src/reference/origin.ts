/** Stands in the page where the origin goes at which it is read. */
export const ORIGIN = 'https://oncekey.invalid'
