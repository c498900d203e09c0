import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Page } from 'playwright-core'
import { expect, inject } from 'vitest'

const require = createRequire(import.meta.url)
/** The minified axe, because every page receives and parses it. */
const SOURCE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']
const COLOURS = ['color-contrast', 'link-in-text-block']
/** None of these rules reads style sheets, so axe need not load them. */
const PRELOAD = { assets: ['media'] }

export type Scheme = 'light' | 'dark'

export type Violation = readonly [scheme: Scheme, rule: string, ...elements: string[]]

/** The kinds of elements that this process has checked. */
const checked = new Set<string>()
/** Starting axe in a page takes longer than its rules: the short run starts it only for this many new kinds or more. */
const MIN_NEW_KINDS = 8

/** Fails if a page violates a rule: see `findViolations`. */
export async function checkAccessibility(page: Page, schemes?: readonly Scheme[]): Promise<void> {
  expect([page.url(), await findViolations(page, schemes)]).toEqual([page.url(), []])
}

/**
 * Checks a page by all rules in the first scheme, and only by the rules about colours in the next, because nothing else
 * differs. The short run checks one element of each kind that no earlier page had, and skips a page with few new kinds.
 */
export async function findViolations(page: Page, schemes: readonly Scheme[] = ['light', 'dark']): Promise<Violation[]> {
  const violations: Violation[] = []
  for (const [i, colorScheme] of schemes.entries()) {
    await page.emulateMedia({ colorScheme })
    const rules = i === 0 ? RULES : COLOURS
    const elements = inject('isLong') ? 'document' : await chooseNewKinds(page, rules)
    if (elements === undefined) continue
    if (!(await page.evaluate("'axe' in globalThis"))) await page.evaluate(SOURCE)
    const options = JSON.stringify({ runOnly: rules, resultTypes: ['violations'], preload: PRELOAD })
    const found = await page.evaluate<[rule: string, ...elements: string[]][]>(
      `axe.run(${elements}, ${options}).then(({ violations }) =>
        violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]))`,
    )
    violations.push(...found.map((violation) => [colorScheme, ...violation] as const))
  }
  return violations
}

/** An expression for one element of each new kind, which then counts as checked; undefined if there are too few. */
async function chooseNewKinds(page: Page, rules: readonly string[]): Promise<string | undefined> {
  const all = await page.evaluate<string[]>(`(${nameKinds})(${rules === COLOURS})`)
  const fresh = all.filter((kind) => !checked.has(kind))
  if (fresh.length < MIN_NEW_KINDS) return
  for (const kind of fresh) checked.add(kind)
  return `${JSON.stringify(fresh)}.map((kind) => kinds.get(kind))`
}

/**
 * Names the kind of each element by what the rules read. The rules about colours read whether the element has visible
 * text, its font and its colours. The other rules also read its name, attributes, parent and emptiness, and the page's
 * width.
 */
const nameKinds = `(onlyColours) => {
  const nameOf = (element) => [element?.localName, ...(element?.classList ?? [])].join('.')
  const attributes = (element) => [...element.attributes]
    .filter(({ name }) => !name.startsWith('data-'))
    .map(({ name, value }) => (['type', 'role'].includes(name) ? name + '=' + value : name))
  const backgrounds = new Map()
  globalThis.kinds = new Map()
  for (const element of document.querySelectorAll('*')) {
    const { color, backgroundColor, fontSize, fontWeight } = getComputedStyle(element)
    const behind = backgrounds.get(element.parentElement) ?? ''
    const background = backgroundColor === 'rgba(0, 0, 0, 0)' ? behind : backgroundColor + ' ' + behind
    backgrounds.set(element, background)
    const isVisible = element.checkVisibility({ visibilityProperty: true })
    const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== '')
    const kind = [isVisible, hasText, color, background, fontSize, fontWeight]
    if (!onlyColours) kind.push(
      nameOf(element), nameOf(element.parentElement), ...attributes(element), element.textContent.trim() === '', innerWidth)
    const name = kind.join(' ')
    if (!kinds.has(name)) kinds.set(name, element)
  }
  return [...kinds.keys()]
}`
