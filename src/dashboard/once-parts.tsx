import type { Context } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { noSpellcheck } from '../pages/forms.tsx'
import { CopyButton, region } from '../pages/parts.tsx'
import { page } from './layout.tsx'

/** The parts of a page that shows a credential once. */

/** A checkbox that hides the credential on the screen. The stylesheet hides it, so no script is needed. */
export const Mask = ({ what }: { what: string }) => (
  <label class="choice">
    <input type="checkbox" id="mask" />
    <span>Hide the {what}, for example while you share your screen</span>
  </label>
)

interface ValueProps {
  readonly id: string
  readonly label: string
  readonly name?: string | null
  readonly value: string
  readonly isMain?: boolean
}

/** A value to copy, with its label. */
export const Value = ({ id, label, name, value, isMain }: ValueProps) => (
  <div class="field">
    <label for={id}>
      {label}
      {name && (
        <>
          {' '}
          “<bdi>{name}</bdi>”
        </>
      )}
    </label>
    <div class="value">
      <textarea
        id={id}
        rows={1}
        readonly
        autocomplete="off"
        class={isMain ? 'code masked' : 'code'}
        aria-describedby={isMain ? 'secret-help' : undefined}
        {...noSpellcheck}
      >
        {value}
      </textarea>
      <CopyButton of={id} what={label} isMain={isMain ?? false} />
    </div>
  </div>
)

/** The ID, the label, the file name and the text of a file. */
type TextFile = readonly [id: string, label: string, file: string, text: string]

/**
 * Buttons that copy or download all values as one text. The browser script creates the file, because the URL of a
 * download must not contain the secret.
 */
export const Files = ({ files }: { files: readonly TextFile[] }) => (
  <>
    <div class="row">
      {files.map(([id, label, file]) => (
        <>
          <CopyButton of={id} what={label}>
            Copy as {label}
          </CopyButton>
          <button type="button" data-download={id} data-file={file} hidden>
            Download {label}
          </button>
        </>
      ))}
    </div>
    <details>
      <summary>Show as {files.map(([, label]) => label).join(' and as ')}</summary>
      {files.map(([id, label, , text]) => (
        <pre id={id} class="masked" {...region(label)}>
          {text}
        </pre>
      ))}
    </details>
  </>
)

interface OnceOptions {
  readonly section: '/dashboard/keys' | '/dashboard/webhooks'
  readonly title: string
  /** The label of the value, such as `API key`. */
  readonly label: string
  readonly name: string
  readonly plaintext: string
  /** The text of a .env file. */
  readonly env: string
  readonly help: string
}

/** Shows an API key or a signing secret once. As with `shownOnce`, the browser does not store it. */
export function credentialPage(c: Context<HonoEnv>, options: OnceOptions) {
  const { section, title, label, name, plaintext, env, help } = options
  return page(
    c,
    { title, section },
    <section class="narrow" data-unsaved={section}>
      <div>
        <h1>{title}</h1>
        <p id="secret-help" class="quiet">
          <b>You won’t see it again.</b> {help}
        </p>
      </div>
      <div class="secret">
        <Value id="secret" label={label} name={name} value={plaintext} isMain />
        <Mask what={label.replace('Signing', 'signing')} />
        <Files files={[['env', '.env', '.env', env]]} />
      </div>
      <div class="row">
        <a class="button primary" href={`${section}?saved`} data-saved>
          Done
        </a>
      </div>
    </section>,
  )
}
