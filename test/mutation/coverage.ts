/** How often each mutant was reached: by each test, and while the sources were loaded. */
export interface Coverage {
  readonly static: Record<string, number>
  readonly perTest: Record<string, Record<string, number>>
}

/** Takes the place of a test's name for the code of a test file outside of its tests. Stryker takes '' for no test. */
export const ON_IMPORT = 'on import'
