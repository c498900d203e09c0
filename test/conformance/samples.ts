import { execFile, execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { newFolder } from '../cli/folder.ts'

/** The samples of the reference, as a reader copies them, and the programs that run them. */

const root = resolve(import.meta.dirname, '../..')

interface Runtime {
  readonly command: string
  /** Reads the sample from stdin. */
  readonly args: readonly string[]
  /** Succeeds if the sample can run on this machine. */
  readonly probe: readonly string[]
}

const RUNTIMES = {
  curl: { command: 'sh', args: ['-s'], probe: ['-c', 'curl --version'] },
  Node: { command: process.execPath, args: ['--input-type=module', '-'], probe: ['--version'] },
  Python: { command: 'python3', args: ['-'], probe: ['--version'] },
  Ruby: { command: 'ruby', args: ['-'], probe: ['--version'] },
  Go: { command: 'go', args: ['run', 'main.go'], probe: ['version'] },
  PHP: { command: 'php', args: [], probe: ['-r', 'curl_init();'] },
} as const satisfies Record<string, Runtime>

export type LanguageName = keyof typeof RUNTIMES
export const LANGUAGE_NAMES = Object.keys(RUNTIMES) as LanguageName[]

export function isInstalled(language: LanguageName): boolean {
  const { command, probe } = RUNTIMES[language]
  try {
    execFileSync(command, probe, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

export interface Sample {
  /** The operation's ID. */
  readonly id: string
  readonly language: LanguageName
  readonly code: string
}

/** Every sample of the page. */
export function samplesOf(page: string): Sample[] {
  return [...page.matchAll(/<article id="(\w+)">(.*?)<\/article>/gs)].flatMap(([, id = '', article = '']) =>
    [...article.matchAll(/name="l-\w+"[^>]*>(\w+)<\/label>.*?<code>(.*?)<\/code>/gs)].map(
      ([, language, code = '']): Sample => ({ id, language: language as LanguageName, code: textOf(code) }),
    ),
  )
}

/** The text of HTML. */
export function textOf(html: string): string {
  const characters: Record<string, string> = { lt: '<', gt: '>', quot: '"', '#39': "'", amp: '&' }
  return html.replace(/<[^>]*>/g, '').replace(/&(lt|gt|quot|#39|amp);/g, (_, name) => characters[name] ?? '')
}

export interface Run {
  /** The status that the sample prints; null if it prints none, as those that use an SDK, which throws. */
  readonly status: string | null
  readonly output: string
}

/** Runs a sample with these environment variables, beside these files. Throws if it fails. */
export async function runSample(
  { language, code }: Pick<Sample, 'language' | 'code'>,
  variables: Record<string, string>,
  files: Record<string, string> = {},
): Promise<Run> {
  const { command, args } = RUNTIMES[language]
  // Packages are found from the working directory.
  const cwd = language === 'Node' ? root : await newFolder()
  const all = { ...files, ...(language === 'Go' && { 'main.go': code }) }
  if (language !== 'Node') for (const [name, text] of Object.entries(all)) await writeFile(join(cwd, name), text)
  const { HOME, PATH } = process.env
  const env = { HOME, PATH, ...variables } as unknown as NodeJS.ProcessEnv
  const input = language === 'curl' ? code.replace(/^curl /, 'curl -sS -w "\\n%{http_code}" ') : code
  const output = await new Promise<string>((done, fail) => {
    const child = execFile(command, args, { cwd, env, timeout: 60_000 }, (error, stdout, stderr) =>
      error ? fail(new Error(`${language}: ${error.message}${stdout}${stderr}`)) : done(stdout),
    )
    child.stdin?.end(input)
  })
  const [status = null] = (language === 'curl' ? /\d{3}$/ : /^\d{3}/).exec(output) ?? []
  return { status, output }
}
