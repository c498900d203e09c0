import { WorkOS } from '@workos-inc/node'

interface Options {
  readonly fetch: typeof globalThis.fetch
  /** Milliseconds after which the SDK abandons an attempt. */
  readonly timeout?: number
}

/** The SDK for Node, unmodified, pointed at `origin`. */
export function workosAt(origin: string, apiKey: string, { fetch, timeout }: Options): WorkOS {
  const { hostname, port } = new URL(origin)
  return new WorkOS(apiKey, {
    apiHostname: hostname,
    port: Number(port),
    https: false,
    fetchFn: fetch,
    ...(timeout !== undefined && { timeout }),
  })
}
