/**
 * The operations that usage counts, as data points name them. `create`: a client secret was issued. `refused`: an existing
 * secret was used, but it authenticates no client.
 */
export const COUNTED_OPERATIONS = ['token', 'introspection', 'create', 'refused'] as const

export type CountedOperation = (typeof COUNTED_OPERATIONS)[number]
