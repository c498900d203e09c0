import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { launchChromium } from './chromium.ts'
import { fill } from './example.ts'

/** Takes the pictures of the README, in the light and the dark scheme: an application, and a secret that is shown once. */

const root = resolve(import.meta.dirname, '../..')
const pictures = join(root, '.github/pictures')
const state = await mkdtemp(join(tmpdir(), 'oncekey-pictures-'))
const dev = spawn(
  process.execPath,
  [join(root, 'src/cli/main.ts'), 'dev', '--port', '0', '--persist-to', state, '--json'],
  {
    cwd: root,
    stdio: ['ignore', 'pipe', 'ignore'],
  },
)
try {
  const { url, api_key } = await readyLine()
  const { applicationId } = await fill(url, api_key)
  const application = `${url}/dashboard/applications/${applicationId}`
  await mkdir(pictures, { recursive: true })
  const browser = await launchChromium()
  for (const colorScheme of ['light', 'dark'] as const) {
    const context = await browser.newContext({
      colorScheme,
      reducedMotion: 'reduce',
      viewport: { width: 1240, height: 760 },
    })
    const page = await context.newPage()
    const take = (name: string) => page.screenshot({ path: join(pictures, `${name}-${colorScheme}.png`) })
    await page.goto(`${url}/dashboard`)
    await page.fill('#api_key', api_key)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${url}/dashboard`)
    await page.goto(application)
    await take('application')
    await page.goto(`${application}/new-secret`)
    await page.fill('#name', 'production')
    await page.click('main button')
    await page.waitForSelector('#secret')
    await take('secret')
    // The secret is revoked, so that the pictures of the next scheme begin in the same state.
    const made = new URL(await page.locator('[data-saved]').evaluate((link) => (link as unknown as URL).href))
    const headers = { Authorization: `Bearer ${api_key}` }
    await fetch(`${url}/connect/client_secrets/${made.hash.slice(1)}`, { method: 'DELETE', headers })
    await context.close()
  }
  await browser.close()
} finally {
  dev.kill()
  await rm(state, { recursive: true, force: true })
}

/** The line that `dev` prints when it is ready. */
function readyLine(): Promise<{ url: string; api_key: string }> {
  return new Promise((resolve, reject) => {
    let text = ''
    dev.stdout.on('data', (chunk) => {
      text += String(chunk)
      if (text.includes('\n')) resolve(JSON.parse(text))
    })
    dev.once('exit', () => reject(new Error('dev ended before it was ready')))
  })
}
