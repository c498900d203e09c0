import type { Child, PropsWithChildren } from 'hono/jsx'
import type { FieldErrors } from '../dashboard/form.ts'

/** What pages are put together from. */

/** A role that the element has by itself, until its layout takes it away, or that it must have to be scrolled by keyboard. */
const as = (role: string, labelledBy?: string): object => ({ role, 'aria-labelledby': labelledBy })

export const Hint = ({ hint }: { hint: string }) => <code>…{hint}</code>

/** A value that people carry elsewhere. The button is there where a script can copy. */
export const Copyable = ({ id, what, value }: { id: string; what: string; value: string }) => (
  <span class="row">
    <code id={id}>{value}</code>
    <CopyButton of={id} what={what} />
  </span>
)

export const CopyButton = ({ of, what, isMain }: { of: string; what: string; isMain?: boolean }) => (
  <button type="button" class={isMain ? 'primary' : 'plain'} data-copy={of} data-what={what} hidden>
    Copy<span class="said"> {what}</span>
  </button>
)

/** A command or a file to take along. */
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

interface FieldProps {
  readonly name: string
  readonly label: string
  readonly value?: string | undefined
  readonly help?: Child
  readonly errors?: FieldErrors
  readonly isRequired?: boolean
  readonly isLong?: boolean
  readonly isCode?: boolean
  readonly autocomplete?: string
  readonly type?: string
}

/** Written in full: JSX leaves `false` out. What browsers check for spelling may leave the machine. */
export const noSpellcheck: object = { spellcheck: 'false' }

/** A field with its label, its help, and what is wrong with it, tied together. */
export const Field = ({ name, label, value, help, errors, isRequired, isLong, isCode, ...rest }: FieldProps) => {
  const error = errors?.[name]
  const described = [help && `${name}-help`, error && `${name}-error`].filter(Boolean).join(' ')
  const attributes = {
    id: name,
    name,
    required: isRequired,
    class: isCode ? 'code' : undefined,
    ...(isCode && noSpellcheck),
    autocomplete: rest.autocomplete ?? 'off',
    'aria-describedby': described || undefined,
    'aria-invalid': error ? ('true' as const) : undefined,
  }
  return (
    <div class="field">
      <label for={name}>{label}</label>
      {isLong ? (
        <textarea rows={3} {...attributes}>
          {value}
        </textarea>
      ) : (
        <input type={rest.type ?? 'text'} value={value} {...attributes} />
      )}
      {help && <p id={`${name}-help`}>{help}</p>}
      {error && (
        <p id={`${name}-error`} class="error">
          {error}
        </p>
      )}
    </div>
  )
}

interface ChoiceProps {
  readonly name: string
  readonly value: string
  readonly type?: 'radio' | 'checkbox'
  readonly isChosen: boolean
  readonly help?: Child
}

export const Choice = ({ name, value, type = 'radio', isChosen, help, children }: PropsWithChildren<ChoiceProps>) => (
  <label class="choice">
    <input type={type} name={name} value={value} checked={isChosen} />
    <span>
      {children}
      {help && <small>{help}</small>}
    </span>
  </label>
)

/** One button that changes something, as the form that it is. */
export const Act = ({ to, children, ...fields }: PropsWithChildren<{ to: string } & Record<string, Child>>) => (
  <form method="post" action={to}>
    {Object.entries(fields).map(([name, value]) => (
      <input type="hidden" name={name} value={String(value)} />
    ))}
    <button type="submit" class="plain">
      {children}
    </button>
  </form>
)

/** A table stays one on a narrow screen, where its rows stand below each other: browsers drop the roles with the layout. */
export const Table = ({ label, columns, children }: PropsWithChildren<{ label: string; columns: Child[] }>) => (
  <table {...as('table')} aria-label={label}>
    <thead {...as('rowgroup')}>
      <tr {...as('row')}>
        {columns.map((column) => (
          <th {...as('columnheader')} scope="col">
            {column}
          </th>
        ))}
      </tr>
    </thead>
    <tbody {...as('rowgroup')}>{children}</tbody>
  </table>
)

export const Row = ({ id, children }: PropsWithChildren<{ id?: string }>) => (
  <tr id={id} {...as('row')}>
    {children}
  </tr>
)

export const Cell = ({ label, kind, children }: PropsWithChildren<{ label?: string; kind?: 'wide' | 'actions' }>) => (
  <td class={kind} data-label={label} {...as('cell')}>
    <span>{children}</span>
  </td>
)

/** What to do where there is nothing yet. */
export const Empty = ({ title, children }: PropsWithChildren<{ title: string }>) => (
  <div class="empty">
    <h2>{title}</h2>
    {children}
  </div>
)

export const Errors = ({ errors }: { errors: FieldErrors }) =>
  Object.keys(errors).length > 0 && (
    <p class="notice bad" role="alert">
      Something is not as it must be: see {Object.keys(errors).length === 1 ? 'the field' : 'the fields'} below. Nothing
      was changed.
    </p>
  )

interface ConfirmProps {
  readonly title: string
  readonly action: string
  /** What the button says. */
  readonly verb: string
  readonly back: string
}

/** Asks before what cannot be taken back: a page of its own, and where a script runs, a dialog on the page before it. */
export const Confirm = ({ title, action, verb, back, children }: PropsWithChildren<ConfirmProps>) => (
  <section id="confirm">
    <h1 id="confirm-title">{title}</h1>
    <form method="post" action={action} class="stack">
      {children}
      <div class="row">
        <button type="submit" class="danger primary">
          {verb}
        </button>
        <a class="button" href={back} data-cancel>
          Cancel
        </a>
      </div>
    </form>
  </section>
)

/** The API call that does the same, with the key in the environment, not in the shell's history. */
export function curl(origin: string, method: string, path: string, body?: object): string {
  return [
    `curl ${method === 'GET' ? '' : `-X ${method} `}${origin}${path}`,
    `  -H "Authorization: Bearer $ONCEKEY_API_KEY"`,
    ...(body ? [`  -H 'Content-Type: application/json'`, `  -d '${JSON.stringify(body)}'`] : []),
  ].join(' \\\n')
}
