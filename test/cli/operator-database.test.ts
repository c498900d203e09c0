import { describe, expect, test } from 'vitest'
import { newDatabase } from './databases.ts'
import { cli, regionsOf } from './terminal.ts'

describe.each([
  ['--remote', ['--remote']],
  ["--persist-to 'my state'", ['--persist-to', 'my state']],
])('after a command with %s', (words, options) => {
  const database = newDatabase()
  const run = async (...command: string[]) => {
    const open = async () => regionsOf(await database)
    const { stdout, stderr } = await cli([...command, ...options], {
      openLocalRegions: open,
      platform: { openRegions: open },
    })
    return stdout + stderr
  }

  test('the command that follows a new environment names the same database', async () => {
    expect(await run('environment', 'list')).toContain(`environment -- create --name NAME ${words}\n`)
    expect(await run('api-key', 'list', '--environment', 'acme')).toContain(`-- create --name acme ${words}\n`)
    expect(await run('environment', 'create', '--name', 'acme')).toContain(`--access read|write ${words}\n`)
  })

  test('the command that sends a sample event, and the one that lifts a freeze, name the same database', async () => {
    await run('environment', 'create', '--name', 'frozen')
    const url = 'https://example.com/hook'
    expect(await run('webhook', 'create', '--environment', 'frozen', '--url', url)).toMatch(
      new RegExp(`npm run webhook -- test we_\\w{26} ${words}\n`),
    )
    expect(await run('freeze', '--environment', 'frozen')).toContain(`--environment frozen ${words} --lift\n`)
  })

  test.each([
    ['webhook', ['delete', 'we_x']],
    ['api-key', ['revoke', 'api_key_x']],
    ['api-key', ['revoke', '--environment', 'some', '--name', 'missing']],
  ])('the command that lists what exists names the same database: %s %j', async (name, command) => {
    await run('environment', 'create', '--name', 'some')
    expect(await run(name, ...command)).toContain(`See: npm run ${name} -- list ${words}\n`)
  })
})
