import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { newFolder } from './folder.ts'
import { paste, run } from './processes.ts'

/** The process around the commands: its streams, its exit code, and the mode of its files. */

const node = `'${process.execPath}' src/cli/main.ts`
const create = `${node} api-key create --environment e --name n --access write`

describe('standard output', () => {
  test.each([
    ['is closed', `${create} >&-`],
    ['is closed, with --json', `${create} --json >&-`],
    ['is /dev/null', `${create} >/dev/null`],
    ['is closed, for a webhook', `${node} webhook create --environment e --url https://example.com >&-`],
  ])('no key or secret is created when standard output %s', async (_, line) => {
    const { code, stderr } = await paste(line)
    expect(stderr).toMatch(
      /^Standard output is closed or \/dev\/null, so the .* would be lost\. Nothing was changed\.\n$/,
    )
    expect(code).toBe(1)
  })

  test('a command that cannot write to stdout because the disk is full ends with exit code 1', async () => {
    const { code, stderr } = await paste(`${node} environment --help >/dev/full`)
    expect(stderr).toBe('The command has finished, but its result could not be written to standard output (ENOSPC).\n')
    expect(code).toBe(1)
  })

  test.each(['--help', 'environment --help'])(
    'a reader that closes stdout early causes no stack trace: %s',
    async (words) => {
      const { stderr } = await paste(`${node} ${words} | true`)
      expect(stderr).toMatch(
        /^(The command has finished, but its result could not be written to standard output \(EPIPE\)\.\n)?$/,
      )
    },
  )
})

test('a command completes although it cannot write to stderr', async () => {
  const { code, stdout } = await paste(`${node} environment --help 2>/dev/full`)
  expect(stdout).toContain('Usage: npm run environment -- create')
  expect(code).toBe(0)
})

test('state files are readable only for the current user even with umask 000, and compiled code is in no shared folder', async () => {
  const folder = await newFolder()
  const state = join(folder, 'state')
  const env = { TMPDIR: folder, NODE_COMPILE_CACHE: undefined }
  const { code } = await paste(`umask 000; ${node} environment list --persist-to '${state}'`, { env })
  expect(code).toBe(0)
  const { stdout } = await paste(`find '${state}' -perm /077`)
  expect(stdout).toBe('')
  expect(await readdir(folder)).not.toContain('node-compile-cache')
})

test('package.json has a script for every command, and --help lists every command', async () => {
  const { scripts } = JSON.parse(await readFile('package.json', 'utf8'))
  const commands = Object.entries(scripts).filter(([, line]) => String(line).includes('src/cli/'))
  expect(commands.length).toBe(12)
  for (const [name, line] of commands) expect(line).toBe(`node src/cli/main.ts ${name}`)
  const { stdout } = await run(['--help'])
  for (const [name] of commands) expect(stdout).toContain(`npm run ${name} --`)
})

test('an option that npm reads as its own, because `--` is missing before it, is reported', async () => {
  const { stderr, code } = await paste('npm run -s deploy --dry-run')
  expect(stderr).toContain('npm read --dry-run as its own option. Write `--` before it.')
  expect(code).toBe(2)
})
