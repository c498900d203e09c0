import axe from 'axe-core'
import type { Page } from 'playwright-core'
import { expect } from 'vitest'

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']
const COLOURS = ['color-contrast', 'link-in-text-block']
/** No rule of these reads the style sheets. */
const PRELOAD = { assets: ['media'] }

export type Scheme = 'light' | 'dark'

/** Checks a page by all rules in the first scheme, and by those about colours in the next: nothing else differs. */
export async function checkAccessibility(page: Page, schemes: readonly Scheme[] = ['light', 'dark']): Promise<void> {
  if (!(await page.evaluate("'axe' in globalThis"))) await page.evaluate(axe.source)
  for (const [i, colorScheme] of schemes.entries()) {
    await page.emulateMedia({ colorScheme })
    const options = JSON.stringify({
      runOnly: i === 0 ? RULES : COLOURS,
      resultTypes: ['violations'],
      preload: PRELOAD,
    })
    const { violations } = await page.evaluate<axe.AxeResults>(`axe.run(${options})`)
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
    expect([page.url(), colorScheme, found]).toEqual([page.url(), colorScheme, []])
  }
}
