import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { cli } from './terminal.ts'

const MADE = ['webhook', 'create', '--environment', 'e']
const KEY = ['api-key', 'create', '--environment', 'e', '--name', 'n']

describe('an invalid command line prints an error and the usage, and ends with exit code 2', () => {
  test.each<[string[], string]>([
    [['dev', '--prot', '1'], "Unknown option '--prot' (Did you mean --port?)"],
    [['dev', 'serve'], "Too many arguments for 'dev'. Expected 0 arguments but got 1."],
    [['dev', '--port'], "Option '--port <N>' argument missing."],
    [['dev', '--port', 'web'], '--port must be a number from 0 to 65535.'],
    [['dev', '--port', '65536'], '--port must be a number from 0 to 65535.'],
    [['migrate', '--remote'], "Unknown option '--remote'."],
    [['environment'], 'A command is missing.'],
    [['environment', 'destroy'], "Unknown command 'destroy'."],
    [['environment', 'create'], "Required option '--name <NAME>' not specified."],
    [['environment', 'list', '--remote', '--persist-to', 'x'], 'cannot be used with option'],
    [['api-key', 'create', '--name', 'n', '--access', 'read'], "Required option '--environment <NAME>' not specified."],
    [KEY, 'Give either --access or --permission.'],
    [[...KEY, '--access', 'admin'], "argument 'admin' is invalid. Allowed choices are read, write."],
    [['api-key', 'revoke'], 'Give the ID of the key, or both --environment and --name.'],
    [['api-key', 'revoke', '--name', 'n'], 'Give the ID of the key, or both --environment and --name.'],
    [['api-key', 'revoke', 'a', '--environment', 'e', '--name', 'n'], 'Give the ID of the key, or both'],
    [['api-key', 'revoke', 'a', 'b'], "Too many arguments for 'revoke'. Expected 1 argument but got 2."],
    [['signing-key', 'create', '--algorithm', 'HS256'], 'Allowed choices are RS256, ES256.'],
    [['signing-key', 'status', '--remote', '--persist-to', 'x'], 'cannot be used with option'],
    [['signing-key', 'renew'], "Unknown command 'renew'."],
    [['deploy', '--location', 'mars'], '--location must be one of weur, eeur, apac, oc, wnam, enam, or DIGIT=LOCATION'],
    [['deploy', '--location', 'weur', '--jurisdiction', 'eu'], 'names a second location for the same database.'],
    [['webhook', 'send'], "Unknown command 'send'."],
    [['webhook', 'test'], "Missing required argument 'ID'."],
    [['webhook', 'delete'], "Missing required argument 'ID'."],
    [['webhook', 'revive'], "Missing required argument 'ID'."],
    [['webhook', 'create', '--url', 'https://example.com'], "Required option '--environment <NAME>' not specified."],
    [MADE, "Required option '--url <URL>' not specified."],
    [[...MADE, '--url', 'example.com'], '--url is not a URL. Give one like https://example.com/hook.'],
    [[...MADE, '--url', 'https://user:password@example.com'], '--url has a user name or a password in it.'],
    [[...MADE, '--url', 'ftp://example.com'], '--url is not https.'],
    [[...MADE, '--url', 'http://example.com', '--remote'], '--url is not https.'],
    [[...MADE, '--url', 'https://127.1', '--remote'], '--url is an IP address.'],
    [[...MADE, '--url', 'https://localhost', '--remote'], '--url is a name of this machine or network.'],
    [
      [...MADE, '--url', 'https://example.com', '--events', 'user.created'],
      "--events has 'user.created', which is not",
    ],
  ])(
    'an invalid command line prints an error and the usage, and ends with exit code 2: %j',
    async (words, sentence) => {
      const { code, stdout, stderr } = await cli(words)
      expect(stderr).toContain(sentence)
      expect(stderr).toMatch(/^Usage: npm run /m)
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    },
  )
})

describe('an option with a value', () => {
  test.each<[string[]]>([
    [['environment', 'list', '--persist-to', '']],
    [['environment', 'list', '--persist-to=']],
    [['environment', 'create', '--name', '']],
    [['api-key', 'list', '--environment', '']],
    [[...MADE, '--url', 'https://example.com', '--events', '']],
    [['deploy', '--environment', '']],
  ])('an option with an empty value, as from an unset variable, is refused: %j', async (words) => {
    const { code, stderr } = await cli(words)
    expect(stderr).toMatch(/^--[\w-]+ is empty\.\nUsage: /)
    expect(code).toBe(2)
  })

  test.each<[string[], string]>([
    [['environment', 'create', '--name', 'a', '--name', 'b'], '--name is given twice.'],
    [['environment', 'list', '--json', '--json'], '--json is given twice.'],
    [['dev', '--port=1', '--port', '2'], '--port is given twice.'],
  ])('a repeated option is refused: %j', async (words, sentence) => {
    expect(await cli(words)).toMatchObject({ code: 2, stderr: expect.stringContaining(sentence) })
  })

  test('an option without its value does not take the next option as its value', async () => {
    const { code, stderr } = await cli(['environment', 'create', '--name', '--json'])
    expect(stderr).toContain("--name needs a value, not '--json'.")
    expect(code).toBe(2)
  })
})

describe('a name that could look like another name is refused', () => {
  test.each([
    ['blank', '  ', 'must not be blank'],
    ['too long', 'x'.repeat(256), 'must have at most 255 characters'],
    ['a line break', 'a\nb', 'must not contain control characters'],
    ['a lone surrogate', 'a\ud800', 'must be well-formed Unicode'],
    ['a space in front', ' production', 'must not begin or end with a space'],
    ['two spaces', 'a  b', 'must separate words by one ordinary space'],
    ['a no-break space', 'a\u00a0b', 'must separate words by one ordinary space'],
    ['a zero-width space', 'prod\u200b', 'must not contain invisible or text-direction characters'],
    ['a bidirectional override', 'a\u202eb', 'must not contain invisible or text-direction characters'],
    ['a variation selector', 'a\ufe0f', 'must not have invisible characters'],
    ['a decomposed character', 'cafe\u0301', 'must be in Unicode normalization form C'],
  ])('a name that could look like another name is refused: %s', async (_, name, sentence) => {
    for (const words of [
      ['environment', 'create', '--name', name],
      ['api-key', 'create', '--environment', 'e', '--access', 'read', '--name', name],
      ['deploy', '--environment', name],
    ]) {
      const { code, stderr } = await cli(words)
      expect(stderr).toContain(sentence)
      expect(code).toBe(2)
    }
  })
})

describe('an option that npm reads as its own because `--` is missing', () => {
  const npm = { npm_lifecycle_event: 'api-key' }
  const words = [...KEY, '--access', 'read']
  const folders: string[] = []
  afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))))

  test('`npm run deploy --dry-run` without `--` is refused, and does not deploy', async () => {
    const env = { ...npm, npm_config_dry_run: 'true' }
    const { code, stderr } = await cli(['deploy'], { env })
    expect(stderr).toContain('npm read --dry-run as its own option. Write `--` before it.')
    expect(code).toBe(2)
  })

  test('the error for a missing option says that npm took the option', async () => {
    const { code, stderr } = await cli(KEY, { env: { ...npm, npm_config_access: 'read' } })
    expect(stderr).toContain('npm read --access as its own option. Write `--` before it.')
    expect(code).toBe(2)
  })

  test('an option after `--` is accepted although npm also has this option', async () => {
    const { code, stderr } = await cli(words, { env: { ...npm, npm_config_access: 'public' } })
    // The command came as far as the database.
    expect(stderr).toContain('unexpected use of the local database')
    expect(code).toBe(1)
  })

  test('a setting in .npmrc or in an environment variable is not mistaken for an option that npm took from the command', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'oncekey-'))
    folders.push(folder)
    const npmrc = join(folder, '.npmrc')
    await writeFile(npmrc, 'access=public\njson = true\n')
    const fromFile = { ...npm, npm_config_userconfig: npmrc, npm_config_json: 'true' }
    const fromVariable = { ...npm, NPM_CONFIG_JSON: 'true', npm_config_json: 'true' }
    for (const env of [fromFile, fromVariable]) {
      expect((await cli(['environment', 'list'], { env })).stderr).toContain('unexpected use of the local database')
    }
  })
})

describe('--help shows the commands and options on stdout, with exit code 0', () => {
  test.each<[string[], string[]]>([
    [
      ['dev', '--help'],
      ['--port <N>', '--persist-to <DIR>', '--json'],
    ],
    [
      ['migrate', '-h'],
      ['--persist-to <DIR>', '--json'],
    ],
    [
      ['environment', '--help'],
      ['create', 'list'],
    ],
    [
      ['environment', 'create', '--help'],
      ['--name <NAME>', '--remote', '--persist-to <DIR>', '--json'],
    ],
    [
      ['api-key', '--help'],
      ['create', 'list', 'revoke'],
    ],
    [
      ['api-key', 'create', '-h'],
      ['--environment <NAME>', '--access <ACCESS>', '"read", "write"', '--json'],
    ],
    [
      ['signing-key', '--help'],
      ['create', 'rotate', 'prune', 'status'],
    ],
    [
      ['webhook', '--help'],
      ['create', 'list', 'test', 'delete', 'revive'],
    ],
    [
      ['deploy', '--help'],
      ['--location', '--jurisdiction <NAME>', 'eu, us or fedramp', '--dry-run', '--json'],
    ],
  ])('--help shows the commands and options on stdout, with exit code 0: %j', async (words, parts) => {
    const { code, stdout, stderr } = await cli(words)
    for (const part of parts) expect(stdout).toContain(part)
    expect(stdout).toMatch(/^Usage: npm run /)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  test.each([
    'environment create',
    'environment list',
    'api-key create',
    'api-key list',
    'api-key revoke',
    'signing-key create',
    'signing-key rotate',
    'signing-key prune',
    'signing-key status',
    'webhook create',
    'webhook list',
    'webhook test',
    'webhook delete',
    'webhook revive',
    'dev',
    'migrate',
  ])('the command %s has the options --persist-to and --json', async (words) => {
    const { stdout } = await cli([...words.split(' '), '--help'])
    expect(stdout).toContain('--persist-to <DIR>')
    expect(stdout).toContain('--json')
  })
})
