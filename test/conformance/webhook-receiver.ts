import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { atEnd } from '../at-end.ts'

interface Arrival {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export type Answer = (response: ServerResponse) => void

export interface WebhookReceiver {
  readonly url: string
  readonly arrivals: Arrival[]
  /** The response to the next request. A test may replace it at any time. */
  answer: Answer
  /** Stops listening, as if the machine were off. */
  readonly stop: () => Promise<void>
  /** Listens again on the same port. */
  readonly start: () => Promise<void>
}

export const status =
  (code: number, headers = {}): Answer =>
  (response) =>
    response.writeHead(code, headers).end()

/** A receiver of webhooks on loopback, until the tests of the file have run. */
export async function webhookReceiver(answer: Answer = status(200)): Promise<WebhookReceiver> {
  const server = createServer(async (request, response) => {
    receiver.arrivals.push({ headers: request.headers, body: await text(request) })
    receiver.answer(response)
  })
  const start = async (port = 0) => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  const port = await start()
  const receiver: WebhookReceiver = {
    url: `http://127.0.0.1:${port}/hook`,
    arrivals: [],
    answer,
    stop: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
    start: async () => {
      await start(port)
    },
  }
  atEnd(() => {
    server.closeAllConnections()
    server.close()
  })
  return receiver
}
