import type { Served } from '../served.ts'

interface Reply {
  readonly status: number
  readonly text: string
  readonly isReplay: boolean
  // biome-ignore lint/suspicious/noExplicitAny: its type depends on the route, and the contract is checked for each response.
  readonly json: any
}

interface Options {
  readonly body?: object
  readonly headers?: Record<string, string>
  /** The Worker to call in place of the next. */
  readonly origin?: string
}

/** Calls the management API as the holder of an API key, each of the served Workers in turn. */
export function managementOf({ origins, fetch }: Pick<Served, 'origins' | 'fetch'>, apiKey: string) {
  let calls = 0
  return async (method: string, path: string, { body, headers, origin }: Options = {}): Promise<Reply> => {
    const response = await fetch(`${origin ?? origins[calls++ % origins.length]}${path}`, {
      method,
      headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json', ...headers },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const isReplay = response.headers.get('Idempotent-Replayed') === 'true'
    return { status: response.status, text, isReplay, json: text && JSON.parse(text) }
  }
}
