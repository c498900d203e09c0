import { createServer } from 'node:http'
import { atEnd } from '../at-end.ts'
import { Cloudflare, Refusal } from './cloudflare.ts'

/** Serves the stand-in for Cloudflare. `url` is for CLOUDFLARE_API_BASE_URL. */
export async function startCloudflare(): Promise<{ cloudflare: Cloudflare; url: string }> {
  const cloudflare = new Cloudflare()
  const accountPath = `/accounts/${cloudflare.account.id}`
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const path = (request.url ?? '/').replace(accountPath, '')
    if (path === '/readyz' && cloudflare.isClosed) response.statusCode = 503
    if (path === '/readyz') return response.end(JSON.stringify(cloudflare.readiness()))
    if (path === '/d1') {
      const results = await cloudflare.batch(JSON.parse(body)).catch(String)
      response.statusCode = typeof results === 'string' ? 500 : 200
      return response.end(typeof results === 'string' ? results : JSON.stringify(results))
    }
    if (`${request.method} ${path}` === cloudflare.held) return cloudflare.onHeld()
    const isJson = request.headers['content-type']?.includes('json') ?? false
    const answer = await cloudflare.answer(request.method ?? '', path, isJson && body ? JSON.parse(body) : body)
    const isRefused = answer instanceof Refusal
    response.writeHead(isRefused ? answer.status : 200, { 'Content-Type': 'application/json' })
    // The SQL API of Analytics Engine has no envelope.
    if (path === '/analytics_engine/sql' && !isRefused) return response.end(JSON.stringify(answer))
    const result = isRefused ? null : answer
    const errors = isRefused ? [answer.error] : []
    const result_info = { page: 1, per_page: 50, count: 1, total_count: 1, total_pages: 1 }
    response.end(JSON.stringify({ success: !isRefused, errors, messages: [], result, result_info }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  atEnd(() => server.close())
  const address = server.address()
  return { cloudflare, url: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}` }
}

/** The environment of a command whose deployed database and Worker are those of the stand-in: see remote-platform.ts. */
export function environmentAt(url: string): Record<string, string> {
  const platform = new URL('remote-platform.ts', import.meta.url)
  return { CLOUDFLARE_API_BASE_URL: url, CLOUDFLARE_API_TOKEN: 'token', NODE_OPTIONS: `--import=${platform}` }
}
