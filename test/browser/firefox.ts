import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/**
 * Firefox by WebDriver BiDi. Playwright needs a Firefox of its own, or commands that Debian's long-term release does not
 * know.
 */

export const firefoxPath = ['/usr/bin/firefox-esr', '/usr/bin/firefox'].find((path) => existsSync(path))

const KEYS = { Tab: '\uE004', Enter: '\uE007', Escape: '\uE00C', ArrowDown: '\uE015' }

export class Firefox {
  readonly #socket: WebSocket
  readonly #answers = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>()
  readonly #end: () => Promise<void>
  #count = 0
  #context = ''

  private constructor(socket: WebSocket, end: () => Promise<void>) {
    this.#socket = socket
    this.#end = end
    socket.addEventListener('message', ({ data }) => {
      const { id, type, result, message } = JSON.parse(data)
      const answer = this.#answers.get(id)
      this.#answers.delete(id)
      if (type === 'error') answer?.reject(new Error(message))
      else answer?.resolve(result as never)
    })
  }

  /** Starts Firefox with a profile of its own, and one tab. */
  static async launch(path: string): Promise<Firefox> {
    const profile = await mkdtemp(join(tmpdir(), 'oncekey-firefox-'))
    const args = ['--headless', '--no-remote', '--remote-debugging-port', '0', '--profile', profile]
    const browser = spawn(path, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = new Promise<void>((resolve) => browser.once('exit', () => resolve()))
    const end = async () => {
      browser.kill()
      await ended
      await rm(profile, { recursive: true, force: true })
    }
    const address = await new Promise<string>((resolve, reject) => {
      const lines = createInterface(browser.stderr)
      lines.on('line', (line) => {
        const [, found] = /WebDriver BiDi listening on (ws:\S+)/.exec(line) ?? []
        if (found) resolve(found)
      })
      void ended.then(() => reject(new Error('Firefox ended before it was ready')))
    })
    const socket = new WebSocket(`${address}/session`)
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve)
      socket.addEventListener('error', reject)
    })
    const firefox = new Firefox(socket, end)
    await firefox.#send('session.new', { capabilities: {} })
    firefox.#context = (await firefox.#send<{ context: string }>('browsingContext.create', { type: 'tab' })).context
    return firefox
  }

  async close(): Promise<void> {
    this.#socket.close()
    await this.#end()
  }

  async open(url: string): Promise<void> {
    await this.#send('browsingContext.navigate', { context: this.#context, url, wait: 'complete' })
  }

  /** The value of an expression in the page; undefined while another page is opening. */
  async evaluate(expression: string): Promise<unknown> {
    const target = { context: this.#context }
    const { result } = await this.#send<{ result?: { value?: unknown } }>('script.evaluate', {
      expression,
      target,
      awaitPromise: true,
    }).catch(() => ({ result: undefined }))
    return result?.value
  }

  /** Presses keys one after the other: names of keys, and characters. */
  async press(...keys: (keyof typeof KEYS | (string & {}))[]): Promise<void> {
    const actions = keys.flatMap((key) => {
      const value = Object.hasOwn(KEYS, key) ? KEYS[key as keyof typeof KEYS] : key
      return [
        { type: 'keyDown', value },
        { type: 'keyUp', value },
      ]
    })
    const input = [{ type: 'key', id: 'keyboard', actions }]
    await this.#send('input.performActions', { context: this.#context, actions: input })
  }

  #send<T = object>(method: string, params: object): Promise<T> {
    this.#count += 1
    const id = this.#count
    return new Promise<T>((resolve, reject) => {
      this.#answers.set(id, { resolve, reject })
      this.#socket.send(JSON.stringify({ id, method, params }))
    })
  }
}
