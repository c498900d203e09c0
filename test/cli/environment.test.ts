import { expect, test } from 'vitest'
import { newDatabase } from './databases.ts'
import { cli } from './terminal.ts'

async function environments() {
  const database = await newDatabase()
  return (...words: string[]) => cli(['environment', ...words], { database })
}

test('a new environment is listed with its client ID, the audience of its tokens', async () => {
  const environment = await environments()
  const { json } = await environment('create', '--name', 'staging', '--json')
  expect(json).toEqual({
    id: expect.stringMatching(/^env_\w{26}$/),
    name: 'staging',
    client_id: expect.stringMatching(/^client_\w{26}$/),
  })
  const listed = await environment('list', '--json')
  expect(listed.json).toEqual([{ ...json, created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) }])
  expect((await environment('list')).stdout).toMatch(
    new RegExp(`^NAME +ID +CLIENT ID +CREATED\nstaging +${json.id} +${json.client_id} +\\d{4}-\\d\\d-\\d\\d\n$`),
  )
})

test('an empty list of environments names the command that creates one', async () => {
  const environment = await environments()
  expect((await environment('list')).stdout).toBe('No environments yet: npm run environment -- create --name NAME\n')
  expect((await environment('list', '--json')).json).toEqual([])
})

test('a name that another environment has, or that looks like such a name, is refused', async () => {
  const environment = await environments()
  const { json } = await environment('create', '--name', 'Café', '--json')
  const again = await environment('create', '--name', 'Café')
  expect(again.stderr).toContain(`Environment Café already exists: ${json.id}. Nothing was changed.`)
  for (const name of ['café', 'CAFÉ', 'Ｃafé']) {
    const { code, stderr } = await environment('create', '--name', name)
    expect(stderr).toContain(`Environment Café has a name like ${name}: ${json.id}. Nothing was changed.`)
    expect(code).toBe(1)
  }
  expect((await environment('list', '--json')).json).toHaveLength(1)
})

test('environment update changes the reaction to leaks', async () => {
  const environment = await environments()
  const { json } = await environment('create', '--name', 'staging', '--json')
  const words = ['update', '--environment', 'staging', '--on-leak', 'revoke']
  expect((await environment(...words, '--json')).json).toMatchObject({ id: json.id, leak_reaction: 'revoke' })
  expect((await environment(...words)).stdout).toBe('Saved the settings of staging.\n')
})

test('environment update changes the limits for client secrets, and the value “none” removes a limit', async () => {
  const environment = await environments()
  await environment('create', '--name', 'staging')
  const update = (...words: string[]) => environment('update', '--environment', 'staging', ...words, '--json')
  const policy = { max_lifetime_days: 90, max_unused_days: 30 }
  expect((await update('--max-lifetime-days', '90', '--max-unused-days', '30')).json).toMatchObject(policy)
  expect((await update('--max-unused-days', 'none')).json).toMatchObject({ ...policy, max_unused_days: null })
  for (const days of ['0', '3651', '1.5', 'never', '0x10', '1e2']) {
    const { code, stderr } = await update('--max-lifetime-days', days)
    expect(code).toBe(2)
    expect(stderr).toContain('--max-lifetime-days must be a whole number from 1 to 3650, or none.')
  }
})

test('environment update with an unknown reaction to leaks, or without a setting, is a usage error', async () => {
  const environment = await environments()
  for (const words of [['--on-leak', 'panic'], []]) {
    const { code, stderr } = await environment('update', '--environment', 'staging', ...words)
    expect(code).toBe(2)
    expect(stderr).toContain('--on-leak')
  }
})

test.each([
  ["it's", `'it'\\''s'`],
  ['two words', `'two words'`],
  ['$(reboot)', `'$(reboot)'`],
  ['plain-1', 'plain-1'],
])('the environment name %s is quoted for a shell in the printed command, if necessary', async (name, word) => {
  const environment = await environments()
  const { stdout } = await environment('create', '--name', name)
  expect(stdout).toContain(`npm run api-key -- create --environment ${word} --name NAME --access read|write\n`)
})
