/**
 * The operations that are counted as usage, by their name in the data points. `create`: a client secret was issued.
 * `refused`: a request used an existing secret, but did not authenticate as its client.
 */
export const COUNTED_OPERATIONS = ['token', 'introspection', 'create', 'refused'] as const

export type CountedOperation = (typeof COUNTED_OPERATIONS)[number]
