import { describe, expect, test } from 'vitest'
import { npmRun, run } from './processes.ts'

/** What is understood and what is not, before anything is touched. */

const usage = /^Usage: npm run /m

describe.concurrent('asked in the wrong words: a sentence, the usage, and exit code 2', () => {
  test.each([
    ['dev', ['--prot', '1'], "Unknown option '--prot'."],
    ['dev', ['serve'], "Unexpected word 'serve'."],
    ['dev', ['--port'], "Option '--port <value>' argument missing."],
    ['dev', ['--port', 'web'], '--port is a number from 0 to 65535.'],
    ['dev', ['--port', '65536'], '--port is a number from 0 to 65535.'],
    ['migrate', ['--remote'], "Unknown option '--remote'."],
    ['environment', [], 'Say what to do.'],
    ['environment', ['destroy'], "There is no 'destroy' here."],
    ['environment', ['create'], '--name is missing.'],
    ['environment', ['create', '--name', ' '], '--name has 1 to 255 characters'],
    ['environment', ['create', '--name', 'a\nb'], '--name has 1 to 255 characters'],
    ['environment', ['list', '--remote', '--persist-to', 'x'], '--remote and --persist-to name two databases'],
    ['api-key', ['create', '--name', 'n', '--access', 'read'], '--environment is missing.'],
    ['api-key', ['create', '--environment', 'e', '--name', 'n'], '--access is missing.'],
    [
      'api-key',
      ['create', '--environment', 'e', '--name', 'n', '--access', 'admin'],
      "--access is one of read, write, not 'admin'.",
    ],
    ['api-key', ['revoke'], 'Name the key by its id, or by --environment and --name.'],
    ['api-key', ['revoke', '--name', 'n'], 'Name the key by its id, or by --environment and --name.'],
    ['api-key', ['revoke', 'a', 'b'], "Unexpected word 'b'."],
    ['deploy', ['--location', 'mars'], '--location is one of weur, eeur, apac, oc, wnam, enam, not'],
    ['deploy', ['--location', 'weur', '--jurisdiction', 'eu'], 'give one of them'],
  ])('%s %j', async (name, args, words) => {
    const { code, stdout, stderr } = await run(name, args)
    expect(stderr).toContain(words)
    expect(stderr).toMatch(usage)
    expect(stderr).not.toContain('    at ')
    expect(stdout).toBe('')
    expect(code).toBe(2)
  })

  test('an option that npm took for its own is not overlooked', async () => {
    const { code, stderr } = await npmRun(['deploy', '--dry-run'])
    expect(stderr).toContain('npm took --dry-run for itself: write -- before it.')
    expect(code).toBe(2)
  })
})

describe.concurrent('--help tells every option, and exits with 0', () => {
  test.each([
    ['dev', ['--help'], ['--port N', '--persist-to DIR', '--json']],
    ['migrate', ['-h'], ['--persist-to DIR']],
    ['environment', ['--help'], ['create', 'list']],
    ['environment', ['create', '--help'], ['--name NAME', '--remote', '--persist-to DIR', '--json']],
    ['api-key', ['--help'], ['create', 'list', 'revoke']],
    ['api-key', ['create', '-h'], ['--environment NAME', '--name NAME', '--access read|write', '--remote', '--json']],
    ['deploy', ['--help'], ['--location', '--jurisdiction eu|fedramp|us', '--dry-run', '--json']],
  ])('%s %j', async (name, args, words) => {
    const { code, stdout, stderr } = await run(name, args)
    for (const word of words) expect(stdout).toContain(word)
    expect(stdout).toMatch(usage)
    expect(stderr).toBe('')
    expect(code).toBe(0)
  })
})
