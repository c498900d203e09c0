import { readdir } from 'node:fs/promises'
import { expect } from 'vitest'
import { runSteps } from '../../src/cli/command.ts'
import { recoveryFiles } from '../../src/cli/recovery-state.ts'
import { cancelRecovery, type Report, recoverySteps } from '../../src/cli/recovery-steps.ts'
import { timeTravel } from '../../src/cli/remote-recovery.ts'
import { home } from '../operator.ts'
import { contextOf, regionsOf } from './terminal.ts'

const migrations = (await readdir('src/storage/migrations')).map((name) => ({ name }))

export interface Recovered {
  readonly database: D1Database
  /** The origins of the Worker that is open, and of its version that is closed for maintenance. */
  readonly open: string
  readonly closed: string
  readonly time: Date
  /** Restores the database to its state at `time`. */
  readonly restore: () => Promise<void>
}

/** The parts of Cloudflare that a recovery uses. `hook` runs after each call and each D1 request of the command. */
export function recoveryOf(
  { database, open, closed, time, restore }: Recovered,
  folder: string,
  hook: (call: string) => Promise<void> = async () => {},
) {
  const state = { isClosed: false, serving: [{ version_id: 'v1', percentage: 100 }] }
  const called = async <T>(call: string, result: T): Promise<T> => {
    await hook(call)
    return result
  }
  const call = async <T>(method: string, path: string, body?: object | string): Promise<T> => {
    const answers = new Map<string, () => unknown>([
      ['GET /d1/database/oncekey', () => ({ uuid: '1', name: 'oncekey' })],
      ['GET /d1/database/1/time_travel/bookmark', () => ({ bookmark: path.includes('timestamp=') ? 'point' : 'undo' })],
      ['POST /d1/database/1/time_travel/restore', restore],
      ['POST /d1/database/1/query', () => [{ results: migrations }]],
      ['GET /workers/scripts/oncekey/deployments', () => ({ deployments: [{ versions: state.serving }] })],
      [
        'PATCH /workers/scripts/oncekey/secrets-bulk',
        () => {
          state.isClosed = JSON.stringify(body).includes('"text":"true"')
        },
      ],
    ])
    const name = `${method} ${path.replace(/\?.*/, '')}`
    if (path.includes('restore')) expect(path).toContain('bookmark=point')
    expect([...answers.keys()]).toContain(name)
    return called(name, (await answers.get(name)?.()) as T)
  }
  const hooked = {
    prepare: (sql: string) => database.prepare(sql),
    batch: async (statements: D1PreparedStatement[]) => called('d1', await database.batch(statements)),
  } as unknown as D1Database
  const { context, output } = contextOf({
    platform: {
      login: async () => ({ id: 'a', description: '', call }),
      openRegions: async () => regionsOf(hooked),
      fetch: async () => called('fetch', await fetch(`${state.isClosed ? closed : open}/readyz`)),
      sleep: () => called('sleep', undefined),
    },
  })
  const target = timeTravel(
    context,
    { name: 'oncekey', issuer: open, accountId: undefined },
    { digit: home.region, binding: 'DB', databaseName: 'oncekey', localId: 'DB' },
  )
  const files = recoveryFiles(folder)
  return {
    state,
    output,
    cancel: () => cancelRecovery(target, files),
    run: async (to = time): Promise<Report> => {
      const { steps, report } = recoverySteps(context, target, files, to)
      await runSteps(context, steps, 'npm run recover')
      return report()
    },
  }
}
