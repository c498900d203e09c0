import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'

/** The fate of one request on its way to the Worker and back. */
export type Fate =
  | 'lost before it arrives'
  | 'answered 503 in HTML before it arrives'
  | 'reply lost'
  | 'reply replaced by 502 in HTML'
  | 'reply replaced by 503 in HTML'
  | 'reply later than the client waits'
  | 'reply cut in half'

export interface LossyNetwork {
  readonly origin: string
  /** The requests that reached the Worker, with its responses, in order. */
  readonly exchanges: { readonly idempotencyKey: string | null; readonly status: number; readonly isReplay: boolean }[]
  /** Closes the network. Throws if a response that the client did not see broke the contract. */
  readonly close: () => void
}

/** Listens in front of `target`. The first requests meet one of `fates` each, in order; later requests pass. */
export async function lossyNetwork(
  target: string,
  fetch: typeof globalThis.fetch,
  fates: readonly Fate[],
): Promise<LossyNetwork> {
  const left = [...fates]
  const exchanges: LossyNetwork['exchanges'] = []
  const failures: unknown[] = []

  async function pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<unknown> {
    const fate = left.shift()
    const body = await buffer(incoming)
    if (fate === 'lost before it arrives') return incoming.socket.destroy()
    if (fate === 'answered 503 in HTML before it arrives') return answerInHtml(outgoing, 503)
    const { method = '', url, headers } = incoming
    const reply = await fetch(`${target}${url}`, {
      method,
      headers: headers as Record<string, string>,
      ...(body.length > 0 && { body }),
    })
    exchanges.push({
      idempotencyKey: (headers['idempotency-key'] as string | undefined) ?? null,
      status: reply.status,
      isReplay: reply.headers.get('Idempotent-Replayed') === 'true',
    })
    const replied = Buffer.from(await reply.arrayBuffer())
    if (fate === 'reply lost') return incoming.socket.destroy()
    if (fate === 'reply replaced by 502 in HTML') return answerInHtml(outgoing, 502)
    if (fate === 'reply replaced by 503 in HTML') return answerInHtml(outgoing, 503)
    if (fate === 'reply later than the client waits') return once(incoming.socket, 'close')
    // Each connection frames the body in its own way (RFC 9112 §6).
    const { 'transfer-encoding': _, ...passed } = Object.fromEntries(reply.headers)
    outgoing.writeHead(reply.status, passed)
    if (fate !== 'reply cut in half') return outgoing.end(replied)
    outgoing.write(replied.subarray(0, replied.length / 2), () => incoming.socket.destroy())
  }

  const server = createServer((incoming, outgoing) => {
    pass(incoming, outgoing).catch((error) => {
      failures.push(error)
      incoming.socket.destroy()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  return {
    origin: `http://127.0.0.1:${port}`,
    exchanges,
    close: () => {
      server.closeAllConnections()
      server.close()
      if (failures.length > 0) throw failures[0]
    },
  }
}

function answerInHtml(outgoing: ServerResponse, status: number): void {
  outgoing.writeHead(status, { 'Content-Type': 'text/html' }).end(`<html><h1>${status}</h1></html>`)
}
