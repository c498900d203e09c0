import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FuzzResponse } from './oracle.ts'

/** Bytes for a socket, written one after another. */
export interface RawRequest {
  readonly chunks: readonly Buffer[]
  /** How long to wait between two chunks, in milliseconds. */
  readonly pauseMs?: number
  /** `end`: the client sends nothing more, and reads the response. `destroy`: it is gone before the response. */
  readonly ending: 'end' | 'destroy'
}

/** A connection that is still open after this long hangs: the Worker answers after 5 s at most. */
const HANG_MS = 10_000

/** Sends the bytes over a connection of their own. Gives the bytes that came back, or throws if the connection hangs. */
export function exchange(origin: string, { chunks, pauseMs = 0, ending }: RawRequest): Promise<Buffer> {
  const { hostname, port } = new URL(origin)
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
    const received: Buffer[] = []
    const timer = setTimeout(() => {
      socket.destroy()
      reject(
        new Error(`the connection hangs: ${JSON.stringify(Buffer.concat(chunks).toString('latin1').slice(0, 500))}`),
      )
    }, HANG_MS)
    socket.on('data', (chunk) => received.push(chunk))
    socket.on('end', () => socket.end())
    // A reset is an answer too: the server may refuse to read on.
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(received))
    })
    socket.on('connect', async () => {
      for (const chunk of chunks) {
        if (!socket.writable) break
        socket.write(chunk)
        if (pauseMs > 0) await sleep(pauseMs)
      }
      if (ending === 'destroy') socket.destroy()
      else socket.end()
    })
  })
}

/** The responses in what a connection sent back. */
export function responsesIn(bytes: Buffer): FuzzResponse[] {
  const responses: FuzzResponse[] = []
  let rest = bytes.toString('latin1')
  for (;;) {
    const [head, ...lines] = (/^HTTP\/1\.1 [\s\S]*?\r\n\r\n/.exec(rest)?.[0] ?? '').split('\r\n')
    if (!head) return responses
    const headers = new Headers()
    for (const line of lines.filter((line) => line !== '')) {
      const colon = line.indexOf(':')
      headers.append(line.slice(0, colon), line.slice(colon + 1).trim())
    }
    rest = rest.slice(rest.indexOf('\r\n\r\n') + 4)
    const status = Number(head.split(' ')[1])
    const length = headers.get('Content-Length')
    let text = ''
    if (headers.get('Transfer-Encoding') === 'chunked') {
      for (let size = 1; size > 0; ) {
        const line = /^([\da-f]+)\r\n/i.exec(rest)
        size = Number.parseInt(line?.[1] ?? '0', 16)
        const start = line?.[0].length ?? 0
        text += rest.slice(start, start + size)
        rest = rest.slice(start + size + 2)
      }
    } else if (status !== 204 && status !== 304) {
      text = rest.slice(0, length === null ? undefined : Number(length))
      rest = rest.slice(text.length)
    }
    responses.push({ status, headers, text: Buffer.from(text, 'latin1').toString() })
  }
}
