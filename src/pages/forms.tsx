import type { Child, PropsWithChildren } from 'hono/jsx'
import { containsCredential } from '../credential/credential.ts'

/** The errors of a form, by field. */
export type FieldErrors = Readonly<Record<string, string>>

/** The hidden fields that every form of the page has. Empty unless a page is being rendered. */
let commonFields: Readonly<Record<string, string>> = {}

/**
 * Renders a page whose forms all send these fields. Rendering is synchronous, so no other request comes in between. The
 * context of hono/jsx would do the same, but adds its renderer for browsers to the Worker: 6 KiB, gzipped.
 */
export function withCommonFields<T>(fields: Readonly<Record<string, string>>, render: () => T): T {
  commonFields = fields
  try {
    return render()
  } finally {
    commonFields = {}
  }
}

interface PostFormProps {
  readonly action: string
  readonly class?: string
  readonly fields?: Readonly<Record<string, string>>
}

/** A form that is sent by POST, with the common fields. */
export const PostForm = ({ action, fields, children, ...rest }: PropsWithChildren<PostFormProps>) => (
  <form method="post" action={action} {...rest}>
    {Object.entries({ ...commonFields, ...fields }).map(([name, value]) => (
      <input type="hidden" name={name} value={value} />
    ))}
    {children}
  </form>
)

/** A form that has only a button. */
export const ActionButton = ({ children, ...form }: PropsWithChildren<PostFormProps>) => (
  <PostForm {...form}>
    <button type="submit" class="plain">
      {children}
    </button>
  </PostForm>
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
  readonly autofocus?: boolean
  readonly type?: string
  /** The value is a whole number. Phones show a keyboard of digits. */
  readonly isNumber?: boolean
}

/** Keeps browsers from sending the text to a spelling service. The value is a string because JSX omits `false`. */
export const noSpellcheck: object = { spellcheck: 'false' }

/** A field with its label, help and error. A refused form does not repeat a credential that was pasted into it. */
export const Field = ({
  name,
  label,
  value: text = '',
  help,
  errors,
  isRequired,
  isLong,
  isCode,
  isNumber,
  ...rest
}: FieldProps) => {
  const error = errors?.[name]
  const value = containsCredential(text) ? '' : text
  const described = [help && `${name}-help`, error && `${name}-error`].filter(Boolean).join(' ')
  const attributes = {
    id: name,
    name,
    required: isRequired,
    class: isCode ? 'code' : isNumber ? 'number' : undefined,
    inputmode: isNumber ? ('numeric' as const) : undefined,
    ...(isCode && noSpellcheck),
    autocomplete: rest.autocomplete ?? 'off',
    autofocus: rest.autofocus ?? (error !== undefined && Object.keys(errors ?? {})[0] === name),
    'aria-describedby': described || undefined,
    'aria-invalid': error ? ('true' as const) : undefined,
  }
  return (
    <div class="field">
      <label for={name}>{label}</label>
      {isLong ? (
        <textarea rows={Math.max(3, value.split('\n').length)} {...attributes}>
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

interface ChoicesProps {
  readonly name: string
  readonly legend: string
  readonly errors?: FieldErrors
}

/** A group of choices with its error. The ID is the target of the link in `Errors`. */
export const Choices = ({ name, legend, errors, children }: PropsWithChildren<ChoicesProps>) => {
  const error = errors?.[name]
  return (
    <fieldset id={name} aria-describedby={error ? `${name}-error` : undefined}>
      <legend>{legend}</legend>
      {children}
      {error && (
        <p id={`${name}-error`} class="error">
          {error}
        </p>
      )}
    </fieldset>
  )
}

interface ChoiceProps {
  readonly name: string
  readonly value: string
  readonly type?: 'radio' | 'checkbox'
  readonly isChosen: boolean
  readonly help?: Child
}

/** A radio button of a group, or a checkbox. */
export const Choice = ({ name, value, type = 'radio', isChosen, help, children }: PropsWithChildren<ChoiceProps>) => (
  <label class="choice">
    <input type={type} name={name} value={value} checked={isChosen} />
    <span>
      {children}
      {help && <small>{help}</small>}
    </span>
  </label>
)

interface SelectProps {
  readonly name: string
  readonly label: string
  readonly chosen: string
  readonly options: readonly (readonly [value: string, label: string])[]
}

/** A list to choose one value from, with its label. */
export const Select = ({ name, label, chosen, options }: SelectProps) => (
  <div class="field">
    <label for={name}>{label}</label>
    <select id={name} name={name}>
      {options.map(([value, text]) => (
        <option value={value} selected={value === chosen}>
          {text}
        </option>
      ))}
    </select>
  </div>
)

/** Says that fields have errors, with a link to the first of them. */
export const Errors = ({ errors }: { errors: FieldErrors }) => {
  const names = Object.keys(errors)
  if (names.length === 0) return null
  return (
    <p class="notice bad" role="alert">
      <span>
        <a href={`#${names[0]}`}>Fix the highlighted {names.length === 1 ? 'field' : 'fields'}.</a> Nothing was saved.
      </span>
    </p>
  )
}

/** The last row of a form: the button that submits it, and a link back. */
export const Buttons = ({ verb, back }: { verb: string; back: string }) => (
  <div class="row">
    <button type="submit" class="primary">
      {verb}
    </button>
    <a class="button" href={back}>
      Cancel
    </a>
  </div>
)

interface ConfirmProps {
  readonly title: Child
  readonly action: string
  readonly fields?: Readonly<Record<string, string>>
  readonly verb: string
  readonly back: string
  /** True if the form has a field, which then gets the focus. */
  readonly hasField?: boolean
}

/**
 * Asks the user to confirm a change. This is a separate page, which the browser script shows as a dialog. The
 * focus starts on Cancel, so that a second press of Enter changes nothing.
 */
export const Confirm = ({ title, verb, back, hasField, children, ...form }: PropsWithChildren<ConfirmProps>) => (
  <section id="confirm" class="narrow">
    <h1 id="confirm-title">{title}</h1>
    <PostForm class="stack" {...form}>
      {children}
      <div class="row">
        <a class="button" href={back} data-cancel autofocus={!hasField}>
          Cancel
        </a>
        <button type="submit" class="danger primary">
          {verb}
        </button>
      </div>
    </PostForm>
  </section>
)
