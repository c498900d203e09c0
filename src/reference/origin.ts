/** A placeholder in the generated page. The Worker replaces it by its own origin. */
export const ORIGIN = 'https://oncekey.invalid'
