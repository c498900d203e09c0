import type { Context } from 'hono'
import { Hono } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Field, PostForm } from '../pages/forms.tsx'
import { Empty, Hint, Name } from '../pages/parts.tsx'
import { identify } from '../storage/batch.ts'
import { type Found, type FoundSecret, findAnything, MAX_FOUND, type Search } from '../storage/find.ts'
import { MAX_READ } from '../storage/inventory.ts'
import { ApplicationTable } from './applications.tsx'
import { eventsPath } from './event-filter.tsx'
import { readForm } from './form.tsx'
import { InventoryTable } from './inventory-table.tsx'
import { page, secretPath } from './layout.tsx'
import { findPath, hintOfCredential, readSearch, searchPath } from './search.ts'
import { LastUse, SecretName } from './secret-table.tsx'
import { may, requireSession } from './session.ts'

const HINT = /^[0-9A-Za-z]{4,6}$/

/** The search for names, IDs, organizations and leaked secrets. */
export const find = new Hono<HonoEnv>()

  .get('/find', requireSession, async (c) => {
    const database = c.get('database')
    const session = c.get('session')
    const { hint, q } = c.req.query()
    const search = q === undefined ? (HINT.test(hint ?? '') ? { hint: hint ?? '', text: null } : null) : readSearch(q)
    if (!search) {
      granted(c, await identify(database, session, 'secrets:read'))
      return formPage(c, hint !== undefined || q !== undefined)
    }
    const now = Date.now()
    return resultPage(c, search, granted(c, await findAnything(database, session, search, now)), now)
  })

  // A POST, so that no URL contains a pasted secret.
  .post('/find', requireSession, async (c) => {
    const field = await readForm(c)
    const search = readSearch(field('q') || field('text'))
    return c.redirect(search ? searchPath(search) : findPath(''), 303)
  })

function resultPage(c: Context<HonoEnv>, search: Search, { secrets, applications }: Found, now: number) {
  const { hint, text } = search
  const [first] = secrets
  const isOne = secrets.length === 1 && applications.length === 0
  return page(
    c,
    { title: text === null ? `Secrets ending in …${hint}` : `Search: ${text}` },
    <>
      <h1>
        {text === null ? (
          <>
            Secrets ending in <Hint hint={hint ?? ''} />
          </>
        ) : (
          <>
            Results for “<bdi>{text}</bdi>”
          </>
        )}
      </h1>
      {isOne && first && <OneSecret c={c} secret={first} now={now} />}
      {secrets.length > 0 && (
        <section aria-labelledby="secrets">
          <h2 id="secrets">Secrets</h2>
          <InventoryTable label="Secrets" secrets={secrets} now={now} detail={Revoker} />
          <Cut count={secrets.length} />
        </section>
      )}
      {applications.length > 0 && (
        <section aria-labelledby="applications">
          <h2 id="applications">Applications</h2>
          <ApplicationTable applications={applications} now={now} />
          <Cut count={applications.length} />
        </section>
      )}
      {secrets.length + applications.length === 0 && <Nothing c={c} search={search} />}
    </>,
  )
}

/** The person or the API key that revoked a secret, for the line below its state. */
const Revoker = ({ state, changedBy }: FoundSecret) =>
  state === 'revoked' && changedBy ? (
    <span class="sub line">
      by <bdi>{changedBy}</bdi>
    </span>
  ) : null

/** The only secret that was found, with a button that revokes it. */
const OneSecret = ({ c, secret, now }: { c: Context<HonoEnv>; secret: FoundSecret; now: number }) => {
  const { state, applicationName, changedBy } = secret
  const isEnded = state === 'revoked' || state === 'expired'
  return (
    <section class="box" aria-labelledby="found">
      <h2 id="found">
        <SecretName secret={secret} /> of <bdi>{applicationName}</bdi>{' '}
        {state === 'revoked'
          ? 'is revoked'
          : state === 'expired'
            ? 'has expired'
            : state === 'disabled'
              ? 'is disabled'
              : 'is active'}
      </h2>
      <p>
        {state === 'revoked' && (
          <>
            It was revoked
            {changedBy && (
              <>
                {' '}
                by <bdi>{changedBy}</bdi>
              </>
            )}
            .{' '}
          </>
        )}
        <LastUse secret={secret} now={now} />
        {!isEnded &&
          ` ${secret.leakReportedAt === null ? 'If it has leaked' : 'It was reported as leaked'}: revoke it. It stops working immediately. This can’t be undone.`}
      </p>
      <div class="row">
        <a class="button" href={secretPath(secret.id)}>
          Show its use and history
        </a>
        {!isEnded && may(c, 'secrets:write') && (
          <PostForm action={`${secretPath(secret.id)}/revoke`}>
            <button type="submit" class="danger primary">
              Revoke <Hint hint={secret.hint} /> now
            </button>
          </PostForm>
        )}
      </div>
    </section>
  )
}

const Cut = ({ count }: { count: number }) =>
  count < MAX_FOUND ? null : <p class="quiet">There may be more. Search for a longer text to narrow the results.</p>

const Nothing = ({ c, search: { hint, text } }: { c: Context<HonoEnv>; search: Search }) => (
  <Empty title={text === null ? `No secret ends in …${hint}` : 'No results'}>
    <p>
      {text === null ? (
        <>
          No secret in <Name>{c.get('identity')?.environmentName}</Name> matches, active or not. Search is
          case-sensitive. The secret may belong to another environment, or have ended more than 90 days ago:{' '}
          <a href={eventsPath({ target: hint ?? '' })}>search activity for …{hint}</a>
        </>
      ) : (
        <>
          Search covers <Name>{c.get('identity')?.environmentName}</Name> only. It finds a whole ID, an organization ID,
          the last 4 or more characters of a secret, and, among the newest {MAX_READ.toLocaleString('en')} applications
          and secrets, a part of a name or ID.
        </>
      )}
    </p>
  </Empty>
)

/** The page does not repeat the submitted text, because it may be a part of a secret. */
function formPage(c: Context<HonoEnv>, isRefused: boolean) {
  return page(
    c,
    { title: 'Search', status: isRefused ? 422 : 200 },
    <section class="narrow">
      <h1>Search</h1>
      <search>
        <PostForm action="/dashboard/find" class="stack">
          <Field
            name="text"
            label="Name, ID, or the last characters of a secret"
            isRequired
            isCode
            autofocus
            help="For a leaked secret, the last 4 to 12 characters are enough. You may also paste all of it."
            {...(isRefused && {
              errors: { text: 'Enter a name, an ID, or the last 4 or more letters and digits of a secret.' },
            })}
          />
          <div class="row">
            <button type="submit" class="primary">
              Search
            </button>
          </div>
        </PostForm>
      </search>
    </section>,
  )
}

/**
 * Redirects a URL with a credential in its query to the page that finds the secret, so that the URL is not used or
 * logged again.
 */
export const withoutCredentials = createMiddleware(async (c, next) => {
  const hint = hintOfCredential(new URL(c.req.url).search)
  if (c.req.method === 'GET' && hint) return c.redirect(findPath(hint), 303)
  return next()
})
