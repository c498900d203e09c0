import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { html, raw } from 'hono/html'
import { Marked, type Tokens, type TokensList } from 'marked'
import { HOSTNAME, ORIGIN } from '../origin.ts'
import { codeBlock, tabs } from './code.ts'
import type { Html } from './members.ts'
import { LANGUAGES } from './samples/languages.ts'
import { table } from './table.ts'

/** The texts in `src/reference/guides`, in the order of the page. */
export const GUIDES = [
  'quickstart',
  'sdks',
  'authentication',
  'pagination',
  'retries',
  'errors',
  'rotation',
  'webhooks',
  'limits',
  'differences',
] as const

export interface Guide {
  /** The name of the file, and the ID of its section. */
  readonly id: (typeof GUIDES)[number]
  readonly title: string
  /** Markdown. URLs have the placeholder for the origin, and links to other guides point to sections of the page. */
  readonly markdown: string
}

export function readGuide(id: Guide['id']): Guide {
  const text = readFileSync(resolve(import.meta.dirname, `../guides/${id}.md`), 'utf8')
  const [, title = '', body = ''] = /^# ([^\n]*)\n(.*)$/s.exec(text) ?? []
  const markdown = body
    .replaceAll("apiHostname: '127.0.0.1', port: 8787, https: false", `apiHostname: '${HOSTNAME}'`)
    .replaceAll('http://127.0.0.1:8787', ORIGIN)
    .replace(/\]\((\w+)\.md\)/g, '](#$1)')
  return { id, title, markdown: markdown.trim() }
}

/** Languages that have another name in the highlighter than in Markdown. */
const NAMES: Readonly<Record<string, string>> = { sh: 'bash', js: 'javascript' }

/**
 * Renders a guide. Adjacent code blocks become tabs, one per language. Code that names a call, such as `GET /events`,
 * becomes a link to the call. `operationIds` has the IDs of the calls, by method and path.
 */
export function guideHtml({ id, markdown }: Guide, operationIds: ReadonlyMap<string, string>): Html {
  const marked = new Marked({
    renderer: {
      heading({ tokens }) {
        return `<h3>${this.parser.parseInline(tokens)}</h3>\n`
      },
      table({ header, rows }) {
        const cells = (row: readonly Tokens.TableCell[]) =>
          row.map(({ tokens }) => raw(this.parser.parseInline(tokens)))
        const columns = header.map(({ text }) => text)
        return `${table(
          columns,
          rows.map((row) => ({ cells: cells(row) as Html[] })),
        )}`
      },
      codespan({ text }) {
        const operationId = operationIds.get(text)
        const code = html`<code>${text}</code>`
        return `${operationId ? html`<a href="#${operationId}">${code}</a>` : code}`
      },
    },
  })
  const groups = grouped(marked.lexer(markdown))
  return html`${groups.map((group, i) => {
    const [first] = group
    if (first?.type === 'code') return codeTabs(`l-${id}-${i}`, group as Tokens.Code[])
    return raw(marked.parser(group as TokensList))
  })}`
}

/** Groups adjacent code blocks. Every other token is a group of its own. */
function grouped(tokens: TokensList): TokensList[number][][] {
  const groups: TokensList[number][][] = []
  for (const token of tokens.filter(({ type }) => type !== 'space')) {
    const last = groups.at(-1)
    if (token.type === 'code' && last?.[0]?.type === 'code') last.push(token)
    else groups.push([token])
  }
  return groups
}

function codeTabs(name: string, blocks: readonly Tokens.Code[]): Html {
  const all = blocks.map(({ text, lang = '' }) => ({ text, language: NAMES[lang] ?? lang }))
  const [only, ...others] = all
  if (only && others.length === 0) return codeBlock(only.text, only.language)
  const tab = ({ text, language }: { text: string; language: string }) => ({
    value: language,
    label: LANGUAGES.find(({ id }) => id === language)?.name ?? language,
    content: codeBlock(text, language),
  })
  return tabs(name, 'Language', all.map(tab))
}
