/** V8's CPU profile of a Worker, through the runtime's inspector. */

export interface CallFrame {
  readonly functionName: string
  readonly url: string
  /** From 0. */
  readonly lineNumber: number
  readonly columnNumber: number
}

interface ProfileNode {
  readonly id: number
  readonly callFrame: CallFrame
  readonly children?: readonly number[]
}

export interface CpuProfile {
  readonly nodes: readonly ProfileNode[]
  /** The node of each sample. Samples are taken while the Worker runs, so that each stands for one interval of it. */
  readonly samples: readonly number[]
}

export const SAMPLING_INTERVAL_US = 100

/** A connection to the inspector of one Worker. */
export class Inspector {
  readonly #socket: WebSocket
  readonly #pending = new Map<number, (result: unknown) => void>()
  #requests = 0

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => {
      const { id, result } = JSON.parse(String(data))
      this.#pending.get(id)?.(result)
      this.#pending.delete(id)
    })
  }

  static async connect(inspector: URL, service: string): Promise<Inspector> {
    const socket = new WebSocket(inspector.href + service)
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve)
      socket.addEventListener('error', () => reject(new Error(`no inspector for ${service}`)))
    })
    return new Inspector(socket)
  }

  async start(): Promise<void> {
    await this.#send('Profiler.enable')
    await this.#send('Profiler.setSamplingInterval', { interval: SAMPLING_INTERVAL_US })
    await this.#send('Profiler.start')
  }

  async stop(): Promise<CpuProfile> {
    const { profile } = (await this.#send('Profiler.stop')) as { profile: CpuProfile }
    this.#socket.close()
    return profile
  }

  #send(method: string, params: object = {}): Promise<unknown> {
    const id = ++this.#requests
    const answered = new Promise((resolve) => this.#pending.set(id, resolve))
    this.#socket.send(JSON.stringify({ id, method, params }))
    return answered
  }
}
