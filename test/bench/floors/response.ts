/** The product's response to a request of some kind: its headers, and its body where the floor answers the same one. */
export interface KeptResponse {
  readonly path: string
  readonly status: number
  readonly headers: readonly [name: string, value: string][]
  readonly body: string
}

const kept = new Map<string, { headers: Headers; body: string }>()

/** Keeps a response, so that the floor answers the same bytes. */
export async function keepResponse(request: Request): Promise<Response> {
  const { path, status, headers, body } = await request.json<KeptResponse>()
  kept.set(keyOf(path, status), { headers: new Headers(headers.map(([name, value]) => [name, value])), body })
  return new Response(null, { status: 204 })
}

/** Answers with the headers of the product. Without a body it is the product's. */
export function respond(path: string, status: number, body?: string | null): Response {
  const response = kept.get(keyOf(path, status))
  const headers = new Headers(response?.headers)
  headers.set('X-Request-ID', crypto.randomUUID())
  return new Response(body === undefined ? response?.body : body, { status, headers })
}

/** Paths that begin alike have the same headers. */
function keyOf(path: string, status: number): string {
  const [, first, second] = path.split('/')
  return `${status} ${first}/${second}`
}
