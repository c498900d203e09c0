import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** One request of a load, as it goes over the wire. */
export interface LoadRequest {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

export interface LoadJob {
  readonly url: string
  readonly connections: number
  /** Each is sent once, by one of the connections. */
  readonly requests: readonly LoadRequest[]
  /** The status of every answer. */
  readonly status: number
  /** A text that the body of every answer has in it. */
  readonly body?: string | undefined
}

export interface LoadResult {
  /** From the first request to the last answer. */
  readonly seconds: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  /** Answers other than the expected one, by their status; `body` and `connection` count what else failed. */
  readonly failures: Readonly<Record<string, number>>
}

/** Sends load from a process of its own, so that the client's work is not counted as the runtime's. */
export class Load {
  readonly #process: ChildProcess

  constructor() {
    this.#process = fork(join(import.meta.dirname, 'loader.ts'))
  }

  get pid(): number {
    return this.#process.pid as number
  }

  /** Throws when any answer is not the expected one: a refusal costs less than the work, and would look fast. */
  async run(job: LoadJob): Promise<LoadResult> {
    this.#process.send(job)
    const [result] = (await once(this.#process, 'message')) as [LoadResult]
    if (Object.keys(result.failures).length > 0) {
      const [{ method, path }] = job.requests as [LoadRequest]
      throw new Error(`${method} ${path} at ${job.url}: unexpected answers ${JSON.stringify(result.failures)}`)
    }
    return result
  }

  stop(): void {
    this.#process.kill()
  }
}
