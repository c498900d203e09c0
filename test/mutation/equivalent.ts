/** Mutants that no test can kill, because the program does the same: by file and text, each with its reason. */
export const EQUIVALENT: Readonly<Record<string, Readonly<Record<string, string>>>> = {}
