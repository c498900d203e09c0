import type { Child, PropsWithChildren } from 'hono/jsx'

/** A role that a layout may take from its element, or that an element needs to be scrolled by keyboard. */
const as = (role: string, labelledBy?: string): object => ({ role, 'aria-labelledby': labelledBy })

/** A part that scrolls by keyboard, with its name. */
export const region = (label: string): object => ({ tabindex: 0, role: 'region', 'aria-label': label })

export const Hint = ({ hint }: { hint: string }) => <code class="hint">…{hint}</code>

/** A name that a user chose. Isolated, so that a bidi override in it cannot reorder the text around it. */
export const Name = ({ children }: PropsWithChildren) => <bdi class="name">{children}</bdi>

/** The maximum length of a name in a list, in code points. */
const MAX_LISTED_NAME = 40
export const MAX_OPTION = 24

/** Cuts a name for a list, whose rows have it several times: long names would make the page too large. */
export function short<Text extends string | null>(name: Text, length = MAX_LISTED_NAME): Text {
  const characters = Array.from<string>(name ?? '')
  return characters.length > length ? (`${characters.slice(0, length - 1).join('')}…` as Text) : name
}

/** The name of an event type. It breaks after its dot, and not inside a word. */
export const TypeName = ({ type }: { type: string }) => (
  <code>
    {type.split('.').map((part, i) => (
      <>
        {i > 0 && (
          <>
            .<wbr />
          </>
        )}
        {part}
      </>
    ))}
  </code>
)

/** Marks a credential in a list that was reported as leaked. A long name before it gives way. */
const LeakMark = ({ at }: { at: number | null }) =>
  at === null ? null : <span class="state bad">Reported as leaked</span>

/** Isolates a name in plain text, where no element is possible: first strong isolate, and pop directional isolate. */
export const isolated = (name: string) => `\u2068${name}\u2069`

/** An ID in a table, cut to the width of its column. Pointing at the row, or the keyboard, shows the copy button. */
export const Id = ({ id, what }: { id: string; what: string }) => (
  <span class="copyable">
    <code class="id" title={id}>
      {id}
    </code>
    <CopyButton what={what} />
  </span>
)

/** A name over an ID: the first cell of a row. A long name is cut, and `title` has all of it. */
export const NameOverId = ({ name, id, what, leakReportedAt = null, children }: PropsWithChildren<NameOverIdProps>) => (
  <>
    <span class="line" title={name}>
      {children}
    </span>
    <LeakMark at={leakReportedAt} />
    <Id id={id} what={what} />
  </>
)

interface NameOverIdProps {
  readonly name?: string | undefined
  readonly id: string
  readonly what: string
  readonly leakReportedAt?: number | null
}

/** A value to copy. The browser script shows the button. */
export const Copyable = ({ id, what, value }: { id: string; what: string; value: string }) => (
  <span class="row">
    <code id={id}>{value}</code>
    <CopyButton of={id} what={what} />
  </span>
)

/** Copies the element with the ID `of`, or the one before the button. */
export const CopyButton = ({ of = '', what, isMain, children }: PropsWithChildren<CopyButtonProps>) => (
  <button
    type="button"
    class={isMain ? 'primary' : children ? undefined : 'plain'}
    data-copy={of}
    data-what={children ? what : undefined}
    hidden
  >
    <span class="label">{children ?? 'Copy'}</span>
    {!children && <Hidden> {what}</Hidden>}
  </button>
)

interface CopyButtonProps {
  readonly of?: string
  readonly what: string
  readonly isMain?: boolean
}

/** Text for screen readers only. */
export const Hidden = ({ children }: PropsWithChildren) => <span class="visually-hidden">{children}</span>

/** A command or a file to copy. */
export const Snippet = ({ id, title, text }: { id: string; title: string; text: string }) => (
  <div class="snippet">
    <div class="row spread">
      <h3 id={`${id}-title`}>{title}</h3>
      <CopyButton of={id} what={title} />
    </div>
    <pre id={id} tabindex={0} {...as('region', `${id}-title`)}>
      {text}
    </pre>
  </div>
)

interface TabsProps {
  readonly name: string
  readonly label: string
  readonly tabs: readonly { readonly id: string; readonly language: string; readonly text: string }[]
}

/** A program in several languages. Radio buttons choose one, and the stylesheet shows it: no script is needed. */
export const Tabs = ({ name, label, tabs }: TabsProps) => (
  <fieldset class="tabs">
    <legend class="visually-hidden">{label}</legend>
    <div class="row">
      {tabs.map(({ id, language }, i) => (
        <label>
          <input type="radio" name={name} value={id} checked={i === 0} class="visually-hidden" />
          <span>{language}</span>
        </label>
      ))}
    </div>
    {tabs.map(({ id, language, text }) => (
      <div class="tab">
        <pre id={id} {...region(language)}>
          {text}
        </pre>
        <CopyButton of={id} what={language} />
      </div>
    ))}
  </fieldset>
)

/** A list that can be ordered by a column: the address of the next order, and the present one if it is by this column. */
interface Sort {
  readonly href: string
  readonly order?: 'ascending' | 'descending' | undefined
}

export interface Column<T> {
  readonly label: string
  /**
   * `wide` stands first and without its label on a narrow screen; `actions` are buttons; `extra` is shown if it fits.
   */
  readonly kind?: 'wide' | 'actions' | 'extra'
  readonly sort?: Sort | undefined
  readonly cell: (row: T) => Child
}

interface TableProps<T> {
  readonly label: string
  readonly columns: readonly Column<T>[]
  readonly rows: readonly T[]
  readonly idOf?: (row: T) => string
}

/** On a narrow screen each row becomes a card. Browsers drop a table's roles with its layout, so they are explicit. */
export const Table = <T,>({ label, columns, rows, idOf }: TableProps<T>) => (
  <table {...as('table')} aria-label={label}>
    <thead {...as('rowgroup')}>
      <tr {...as('row')}>
        {columns.map((column) => (
          <th {...as('columnheader')} scope="col" class={column.kind} aria-sort={column.sort?.order}>
            {column.kind === 'actions' ? (
              <Hidden>{column.label}</Hidden>
            ) : column.sort ? (
              <a href={column.sort.href}>{column.label}</a>
            ) : (
              column.label
            )}
          </th>
        ))}
      </tr>
    </thead>
    <tbody {...as('rowgroup')}>
      {rows.map((row) => (
        <tr id={idOf?.(row)} {...as('row')}>
          {columns.map(({ label, kind, cell }) => (
            <td class={kind} data-label={kind === 'wide' || kind === 'actions' ? undefined : label} {...as('cell')}>
              <div>{cell(row)}</div>
            </td>
          ))}
        </tr>
      ))}
    </tbody>
  </table>
)

/** Actions behind a button. The browser opens and closes it without a script. */
export const Menu = ({ id, label, children }: PropsWithChildren<{ id: string; label: string }>) => (
  <>
    <button type="button" class="more" popovertarget={id} aria-label={label}>
      ⋯
    </button>
    <div id={id} class="menu" popover="auto">
      {children}
    </div>
  </>
)

/** A list without rows, and what to do about it. */
export const Empty = ({ title, children }: PropsWithChildren<{ title: string }>) => (
  <div class="empty">
    <h2>{title}</h2>
    {children}
  </div>
)

/**
 * The API call that does the same. It reads the key from the environment, which keeps it out of the shell's history.
 */
export function curl(origin: string, method: string, path: string, body?: object): string {
  return [
    `curl ${method === 'GET' ? '' : `-X ${method} `}${origin}${path}`,
    `  -H "Authorization: Bearer $ONCEKEY_API_KEY"`,
    ...(body ? [`  -H 'Content-Type: application/json'`, `  -d '${JSON.stringify(body)}'`] : []),
  ].join(' \\\n')
}
