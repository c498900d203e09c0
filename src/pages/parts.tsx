import type { Child, PropsWithChildren } from 'hono/jsx'

/** A role that a layout may take from its element, or that an element needs to be scrolled by keyboard. */
const as = (role: string, labelledBy?: string): object => ({ role, 'aria-labelledby': labelledBy })

export const Hint = ({ hint }: { hint: string }) => <code class="hint">…{hint}</code>

/** A name that a user chose. Isolated, so that a bidi override in it cannot reorder the text around it. */
export const Name = ({ children }: PropsWithChildren) => <bdi class="name">{children}</bdi>

/** The same isolation where no element may stand: first strong isolate, and pop directional isolate. */
export const isolated = (name: string) => `\u2068${name}\u2069`

/** A long id in a table, cut to the width of its column. */
export const Id = ({ id }: { id: string }) => (
  <code class="id" title={id}>
    {id}
  </code>
)

/** A value to copy. The browser script shows the button. */
export const Copyable = ({ id, what, value }: { id: string; what: string; value: string }) => (
  <span class="row">
    <code id={id}>{value}</code>
    <CopyButton of={id} what={what} />
  </span>
)

export const CopyButton = ({ of, what, isMain }: { of: string; what: string; isMain?: boolean }) => (
  <button type="button" class={isMain ? 'primary' : 'plain'} data-copy={of} data-what={what} hidden>
    <span class="label">Copy</span>
    <Hidden> {what}</Hidden>
  </button>
)

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

export interface Column<T> {
  readonly label: string
  /** `wide` stands first and without its label on a narrow screen; `actions` are buttons. */
  readonly kind?: 'wide' | 'actions'
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
          <th {...as('columnheader')} scope="col">
            {column.kind === 'actions' ? <Hidden>{column.label}</Hidden> : column.label}
          </th>
        ))}
      </tr>
    </thead>
    <tbody {...as('rowgroup')}>
      {rows.map((row) => (
        <tr id={idOf?.(row)} {...as('row')}>
          {columns.map(({ label, kind, cell }) => (
            <td class={kind} data-label={kind ? undefined : label} {...as('cell')}>
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

/** The API call that does the same. It reads the key from the environment, which keeps it out of the shell's history. */
export function curl(origin: string, method: string, path: string, body?: object): string {
  return [
    `curl ${method === 'GET' ? '' : `-X ${method} `}${origin}${path}`,
    `  -H "Authorization: Bearer $ONCEKEY_API_KEY"`,
    ...(body ? [`  -H 'Content-Type: application/json'`, `  -d '${JSON.stringify(body)}'`] : []),
  ].join(' \\\n')
}
