/** Throws unless the contract's demand is met. An assertion of Vitest for each would take longer than the response. */
export function demand(isMet: boolean, text: string, what: string): void {
  if (!isMet) throw new Error(`${what}: ${text}`)
}
