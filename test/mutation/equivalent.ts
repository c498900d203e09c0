/** Mutants that no test can kill, because the program does the same: by file and text, each with its reason. */
export const EQUIVALENT: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'src/storage/caller-conditions.ts': {
    "function withinRanges({ addressBits = '' }: Caller): Sql { ⟶ '' ⟶ \"Stryker was here!\"":
      'Every range starts with 4 or 6, so that neither text starts with a range.',
    "return sql`unixepoch('subsec') * 1000 < ${changeDeadline(database)}` ⟶ h('subsec') * 1000 < ${changeD ⟶ h('subsec') * 1000 <= ${changeD":
      "They differ in one millisecond of D1's clock. The deadline has a margin of 500 ms, because that clock is not the Worker's.",
  },
}
