import type { Browser, BrowserContextOptions } from 'playwright-core'
import { afterEach, beforeAll } from 'vitest'
import { type KeyOptions, newApiKey } from '../operator.ts'
import { type Served, type ServeOptions, serve } from '../served.ts'
import { sharedChromium } from './chromium.ts'
import { fill } from './example.ts'
import { newVisitor, type Visitor } from './visitor.ts'

const KEY = Symbol.for('oncekey.served')

/** One Worker for all test files of a process that need no variables of their own. It ends with the process. */
function sharedWorker(): Promise<Served> {
  const holder = globalThis as { [KEY]?: Promise<Served> }
  holder[KEY] ??= serve({ tokens: 'ES256', isShared: true })
  return holder[KEY]
}

/** A served Worker and a browser, for all tests of a file. */
export class Environment {
  served!: Served
  browser!: Browser
  readonly #visitors: Visitor[] = []

  constructor(vars?: () => Promise<NonNullable<ServeOptions['vars']>>) {
    beforeAll(async () => {
      this.served = await (vars ? serve({ tokens: 'ES256', vars: await vars() }) : sharedWorker())
      this.browser = await sharedChromium()
    })
    afterEach(async () => {
      for (const visitor of this.#visitors.splice(0)) await visitor.context.close()
    })
  }

  get origin(): string {
    return this.served.origins[0]
  }

  /** An environment with applications and secrets. */
  async newExample(options?: KeyOptions) {
    const key = await newApiKey(this.served.database, options)
    const { applicationId, hint } = await fill(this.origin, key.apiKey)
    const path = `/dashboard/applications/${applicationId}`
    const call = async (method: string, target: string, body?: object) => {
      const headers = { Authorization: `Bearer ${key.apiKey}`, 'Content-Type': 'application/json' }
      const init = { method, headers, ...(body && { body: JSON.stringify(body) }) }
      const response = await fetch(this.origin + target, init)
      return response.status === 204 ? null : response.json()
    }
    return {
      ...key,
      applicationId,
      hint,
      path,
      call,
      secrets: () => call('GET', `/connect/applications/${applicationId}/client_secrets`) as Promise<Secret[]>,
      isValid: async (client_secret: string) =>
        ((await call('POST', '/connect/client_secrets/verify', { client_secret })) as { valid: boolean }).valid,
    }
  }

  async newVisitor(options?: BrowserContextOptions, browser = this.browser): Promise<Visitor> {
    const visitor = await newVisitor(browser, this.origin, options)
    this.#visitors.push(visitor)
    return visitor
  }
}

interface Secret {
  readonly id: string
  readonly name?: string
  readonly secret_hint: string
  readonly created_at: string
  readonly expires_at?: string
}
