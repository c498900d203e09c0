import type { Child, PropsWithChildren } from 'hono/jsx'

/**
 * An explicit role. A CSS layout may remove the implicit role of an element, and an element that scrolls by keyboard
 * needs a role.
 */
const as = (role: string, labelledBy?: string): object => ({ role, 'aria-labelledby': labelledBy })

/** The attributes of an element that scrolls by keyboard, with its name. */
export const region = (label: string): object => ({ tabindex: 0, role: 'region', 'aria-label': label })

export const Hint = ({ hint }: { hint: string }) => <code class="hint">…{hint}</code>

/** A name that a user chose. The isolation keeps a bidi override in the name from reordering the text around it. */
export const Name = ({ children }: PropsWithChildren) => <bdi class="name">{children}</bdi>

/** The maximum length of a name in a list, in code points. */
const MAX_LISTED_NAME = 40
export const MAX_OPTION = 24

/** Cuts a name for a list. Each row repeats the name several times, so long names would make the page too large. */
export function short<Text extends string | null>(name: Text, length = MAX_LISTED_NAME): Text {
  const characters = Array.from<string>(name ?? '')
  return characters.length > length ? (`${characters.slice(0, length - 1).join('')}…` as Text) : name
}

/** An event type as code. A line may break after a dot, but not inside a word. */
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

/** In a list, marks a credential that was reported as leaked. The stylesheet cuts a long name before the mark. */
const LeakMark = ({ at }: { at: number | null }) =>
  at === null ? null : <span class="state bad">Reported as leaked</span>

/**
 * Isolates a name in plain text, where no element is possible, with the characters first strong isolate and pop
 * directional isolate.
 */
export const isolated = (name: string) => `\u2068${name}\u2069`

/**
 * An ID in a table, cut to the width of its column. The copy button appears when the pointer is over the row, or when
 * the button has the focus.
 */
export const Id = ({ id, what }: { id: string; what: string }) => (
  <span class="copyable">
    <code class="id" title={id}>
      {id}
    </code>
    <CopyButton what={what} />
  </span>
)

/** The first cell of a row: a name above an ID. A long name is cut, and `title` has the whole name. */
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

/** A button that copies the text of the element with the ID `of`, or of the element before the button. */
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

/**
 * The link in the header of a column: the URL that a click opens, and the current order if the list is ordered by this
 * column.
 */
interface Sort {
  readonly href: string
  readonly order?: 'ascending' | 'descending' | undefined
}

export interface Column<T> {
  readonly label: string
  /**
   * On a narrow screen, `wide` comes first and has no label. `actions` has buttons. `extra` is shown only if there is
   * room.
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

/**
 * On a narrow screen each row becomes a card. Without the layout of a table, browsers drop the roles of its elements,
 * so the roles are explicit.
 */
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

/** A button that opens a menu of actions. The browser opens and closes the menu without a script. */
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

/** A text in place of an empty list, which says what to do next. */
export const Empty = ({ title, children }: PropsWithChildren<{ title: string }>) => (
  <div class="empty">
    <h2>{title}</h2>
    {children}
  </div>
)

/**
 * A curl command for an API call. It reads the API key from an environment variable, which keeps the key out of the
 * shell history.
 */
export function curl(origin: string, method: string, path: string, body?: object): string {
  return [
    `curl ${method === 'GET' ? '' : `-X ${method} `}${origin}${path}`,
    `  -H "Authorization: Bearer $ONCEKEY_API_KEY"`,
    ...(body ? [`  -H 'Content-Type: application/json'`, `  -d '${JSON.stringify(body)}'`] : []),
  ].join(' \\\n')
}
