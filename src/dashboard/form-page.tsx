import type { Context } from 'hono'
import type { Child } from 'hono/jsx'
import type { HonoEnv } from '../http/context.ts'
import { Buttons, Errors, type FieldErrors, PostForm } from '../pages/forms.tsx'
import { page } from './layout.tsx'

interface FormPageOptions {
  readonly title: string
  readonly heading?: Child
  /** A sentence on what the form does. */
  readonly intro?: Child
  readonly action: string
  readonly fields?: Readonly<Record<string, string>>
  readonly verb: string
  /** The page that Cancel and the breadcrumb lead to. */
  readonly back: { readonly path: string; readonly name: string }
  readonly errors: FieldErrors
}

/** Answers with a form: with status 422 if it has errors. */
export function formPage(c: Context<HonoEnv>, options: FormPageOptions, children: Child): Response {
  const { title, heading, intro, action, fields = {}, verb, back, errors } = options
  return page(
    c,
    { title, section: '/dashboard', status: Object.keys(errors).length > 0 ? 422 : 200 },
    <section class="narrow">
      <div>
        <p class="crumb">
          <a href={back.path}>
            <bdi>{back.name}</bdi>
          </a>
        </p>
        <h1>{heading ?? title}</h1>
      </div>
      {intro && <p class="quiet">{intro}</p>}
      <PostForm action={action} class="stack" fields={fields}>
        <Errors errors={errors} />
        {children}
        <Buttons verb={verb} back={back.path} />
      </PostForm>
    </section>,
  )
}
