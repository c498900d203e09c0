import { createServer } from 'node:http'
import { atEnd } from '../at-end.ts'
import { Cloudflare, Refusal } from './cloudflare.ts'

/** Serves the stand-in. `url` is for CLOUDFLARE_API_BASE_URL. */
export async function startCloudflare(): Promise<{ cloudflare: Cloudflare; url: string }> {
  const cloudflare = new Cloudflare()
  const accountPath = `/accounts/${cloudflare.account.id}`
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const path = (request.url ?? '/').replace(accountPath, '')
    if (path === '/readyz') return response.end(JSON.stringify(cloudflare.readiness()))
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
