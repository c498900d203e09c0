import type { Context } from 'hono'
import { Hono } from 'hono'
import * as v from 'valibot'
import { Name as KeyName } from '../contract/fields.ts'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { ApiError, granted } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { ActionButton, Confirm, Field, type FieldErrors } from '../pages/forms.tsx'
import { type Column, Hidden, isolated, MAX_OPTION, Name, NameOverId, short, Table } from '../pages/parts.tsx'
import { Time } from '../pages/time.tsx'
import { type CallerKey, MAX_LISTED_CALLERS, renameCallerKey, revokeCallerKey } from '../storage/api-keys.ts'
import { identify } from '../storage/batch.ts'
import { SESSION_LIFETIME_MS } from '../storage/caller-conditions.ts'
import { endSession, listCallers, type Session } from '../storage/sessions.ts'
import { formPage, readChange, validate } from './form.tsx'
import { secretsPath } from './inventory-filter.tsx'
import { page, redirectWithNotice } from './layout.tsx'
import { LastUsed, TimeOrNever } from './secret-table.tsx'
import { may, requireRight, requireSession } from './session.ts'

const PATH = '/dashboard/keys'
/** The maximum number of rows of each list on one page. */
const PAGE_LENGTH = 15

/** The API keys and sessions of the environment. A leaked key can be revoked here without a terminal. */
export const keys = new Hono<HonoEnv>()

  .get('/keys', requireSession, async (c) => {
    const { keys, sessions } = granted(c, await listCallers(c.get('database'), c.get('session')))
    return keysPage(c, keys, sessions)
  })

  .get('/keys/:id/revoke', requireSession, async (c) => {
    const { keys } = granted(c, await listCallers(c.get('database'), c.get('session')))
    requireRight(c, 'write')
    const key = keys.find(({ id }) => id === c.req.param('id'))
    if (!key) throw new ApiError('entity_not_found')
    return revokePage(c, key, keys)
  })

  .post('/keys/:id/revoke', requireSession, async (c) => {
    await readChange(c, 'write')
    granted(c, await revokeCallerKey(c.get('database'), beginChange(c, c.get('session')), c.req.param('id')))
    return redirectWithNotice(c, PATH, 'key-revoked')
  })

  .get('/keys/:id/rename', requireSession, async (c) => {
    const { keys } = granted(c, await listCallers(c.get('database'), c.get('session')))
    requireRight(c, 'write')
    const key = keys.find(({ id }) => id === c.req.param('id'))
    if (!key) throw new ApiError('entity_not_found')
    return renamePage(c, key.name)
  })

  .post('/keys/:id/rename', requireSession, async (c) => {
    const field = await readChange(c, 'write')
    const input = validate(v.object({ name: KeyName }), { name: field('name').trim() })
    if (input.refused) {
      granted(c, await identify(c.get('database'), c.get('session'), 'write'))
      return renamePage(c, field('name'), input.refused)
    }
    const { name } = input.granted
    granted(c, await renameCallerKey(c.get('database'), beginChange(c, c.get('session')), c.req.param('id'), name))
    return redirectWithNotice(c, PATH, 'key-renamed')
  })

  .post('/sessions/:id/end', requireSession, async (c) => {
    await readChange(c, 'write')
    granted(c, await endSession(c.get('database'), beginChange(c, c.get('session')), c.req.param('id')))
    return redirectWithNotice(c, PATH, 'session-ended')
  })

export const hasExpired = ({ expiresAt }: CallerKey, now: number) => expiresAt !== null && expiresAt <= now

function keysPage(c: Context<HonoEnv>, allKeys: CallerKey[], allSessions: Session[]) {
  const now = Date.now()
  const keys = partOf(c, 'keys', allKeys)
  const sessions = partOf(c, 'sessions', allSessions)
  return page(
    c,
    { title: 'Keys and sessions', section: PATH },
    <>
      <div class="title">
        <h1>Keys and sessions</h1>
        {may(c, 'write') && (
          <a class="button primary" href="/dashboard/keys/new">
            New API key
          </a>
        )}
      </div>
      <section aria-labelledby="keys">
        <h2 id="keys">API keys</h2>
        <p class="quiet">Anyone with one of these keys can call the API and sign in here.</p>
        <Table label="API keys" columns={keyColumns(now, may(c, 'write'))} rows={keys} />
        <Parts c={c} name="keys" rows={allKeys} />
      </section>
      <section aria-labelledby="sessions">
        <h2 id="sessions">Sessions</h2>
        <p class="quiet">Sessions end after 30 minutes of inactivity, after 12 hours, or when their key is revoked.</p>
        <Table label="Sessions" columns={sessionColumns(now, may(c, 'write'))} rows={sessions} />
        <Parts c={c} name="sessions" rows={allSessions} />
      </section>
    </>,
  )
}

/** Index of the first row on the page that the URL's query selects; 0 if the query is invalid. */
function startOf(c: Context<HonoEnv>, name: string, { length }: readonly unknown[]): number {
  const start = Math.trunc(Number(c.req.query(name)) / PAGE_LENGTH) * PAGE_LENGTH
  return start > 0 && start < length ? start : 0
}

function partOf<Row>(c: Context<HonoEnv>, name: string, rows: readonly Row[]): readonly Row[] {
  const start = startOf(c, name, rows)
  return rows.slice(start, start + PAGE_LENGTH)
}

/** Links to the other pages of a list. */
const Parts = ({ c, name, rows }: { c: Context<HonoEnv>; name: string; rows: readonly unknown[] }) => {
  if (rows.length <= PAGE_LENGTH) return null
  const start = startOf(c, name, rows)
  const end = Math.min(start + PAGE_LENGTH, rows.length)
  const link = (to: number, label: string) => (
    <a class="button" href={`${PATH}?${name}=${to}#${name}`}>
      {label}
    </a>
  )
  return (
    <nav class="row" aria-label={`Pages of ${name}`}>
      {start > 0 && link(start - PAGE_LENGTH, 'Previous')}
      {end < rows.length && link(end, 'Next')}
      <span class="quiet">
        {start + 1} to {end} of{' '}
        {rows.length === MAX_LISTED_CALLERS && (name === 'sessions' ? 'the newest ' : 'the first ')}
        {rows.length}
      </span>
    </nav>
  )
}

const keyColumns = (now: number, canWrite: boolean): Column<CallerKey>[] => [
  {
    label: 'Name',
    kind: 'wide',
    cell: (key) => (
      <NameOverId
        name={short(key.name)}
        id={key.id}
        what={`ID of ${isolated(short(key.name))}`}
        leakReportedAt={key.leakReportedAt}
      >
        <Name>{short(key.name)}</Name>
        {key.isOwn && <span class="quiet"> (you)</span>}
      </NameOverId>
    ),
  },
  { label: 'Access', cell: (key) => <Rights of={key} /> },
  { label: 'Last used', cell: ({ lastUsedAt }) => <LastUsed at={lastUsedAt} now={now} /> },
  { label: 'Expires', cell: ({ expiresAt }) => <TimeOrNever at={expiresAt} now={now} /> },
  { label: 'Created', kind: 'extra', cell: ({ createdAt }) => <Time at={createdAt} now={now} /> },
  {
    label: 'Actions',
    kind: 'actions',
    cell: (key) => (
      <>
        <a class="button plain" href={secretsPath({ creator: key.id })}>
          Secrets<Hidden> that {short(key.name, MAX_OPTION)} created</Hidden>
        </a>
        {canWrite && <Changes of={key} />}
      </>
    ),
  },
]

/** The access of a key or its permissions, and below them the IP addresses from which it works. */
const Rights = ({ of: { access, permissions, allowedIps } }: { of: CallerKey }) => (
  <>
    <span class="line" title={permissions?.join(', ')}>
      {permissions?.join(', ') ?? (access === 'write' ? 'Read and write' : 'Read-only')}
    </span>
    {allowedIps && (
      <span class="sub line" title={allowedIps.join(', ')}>
        from {allowedIps.join(', ')}
      </span>
    )}
  </>
)

const Changes = ({ of: { id, name } }: { of: CallerKey }) => (
  <>
    <a class="button plain" href={`${PATH}/${id}/rename`}>
      Rename<Hidden> {short(name)}</Hidden>
    </a>
    <a class="button plain danger" href={`${PATH}/${id}/revoke`} data-dialog>
      Revoke…<Hidden> {short(name)}</Hidden>
    </a>
  </>
)

const sessionColumns = (now: number, canWrite: boolean): Column<Session>[] => [
  {
    label: 'API key',
    kind: 'wide',
    cell: (session) => (
      <>
        <span class="line" title={short(session.keyName)}>
          <Name>{short(session.keyName)}</Name>
          {session.isOwn && <span class="quiet"> (this session)</span>}
        </span>
        {session.person !== null && (
          <span class="sub line" title={session.person}>
            <a href={secretsPath({ creator: session.person })}>
              <Hidden>Secrets that </Hidden>
              <bdi>{short(session.person)}</bdi>
              <Hidden> created</Hidden>
            </a>
          </span>
        )}
        {session.userAgent && (
          <span class="sub line" title={session.userAgent}>
            <bdi>{short(deviceOf(session.userAgent))}</bdi>
          </span>
        )}
      </>
    ),
  },
  {
    label: 'Signed in from',
    cell: ({ address, country }) =>
      address === null ? (
        <span class="quiet">Unknown</span>
      ) : (
        <>
          <span class="line">{country ?? 'Unknown country'}</span>
          <span class="sub">{address}</span>
        </>
      ),
  },
  { label: 'Last used', cell: ({ lastUsedAt }) => <Time at={lastUsedAt} now={now} /> },
  { label: 'Signed in', kind: 'extra', cell: ({ createdAt }) => <Time at={createdAt} now={now} /> },
  { label: 'Ends by', cell: (session) => <Time at={endOf(session)} now={now} /> },
  ...(canWrite ? [endColumn] : []),
]

const endOf = ({ createdAt, expiresAt }: Session) =>
  Math.min(createdAt + SESSION_LIFETIME_MS, expiresAt ?? Number.POSITIVE_INFINITY)

const BROWSER = /(Firefox|Edg|OPR|Chrome|Version)\/(\d+)/
const BROWSERS = new Map([
  ['Edg', 'Edge'],
  ['OPR', 'Opera'],
  ['Version', 'Safari'],
])
const SYSTEM = /Windows|Android|iPhone|iPad|Mac OS X|CrOS|Linux/

/** The browser and the operating system of a user agent. The whole user agent if one of them is unknown. */
function deviceOf(userAgent: string): string {
  const specific = /(Edg|OPR)\/(\d+)/.exec(userAgent) ?? BROWSER.exec(userAgent)
  const system = SYSTEM.exec(userAgent)?.[0]
  if (!specific?.[1] || !system) return userAgent
  return `${BROWSERS.get(specific[1]) ?? specific[1]} ${specific[2]} on ${system}`
}

const endColumn: Column<Session> = {
  label: 'Actions',
  kind: 'actions',
  cell: (session) => (
    <ActionButton action={`/dashboard/sessions/${session.id}/end`}>
      End session<Hidden> of {short(session.person ?? session.keyName)}</Hidden>
    </ActionButton>
  ),
}

function renamePage(c: Context<HonoEnv>, name: string, errors: FieldErrors = {}) {
  return formPage(
    c,
    {
      title: 'Rename API key',
      intro: 'The key itself stays the same. Past events keep the old name.',
      action: c.req.path,
      verb: 'Save name',
      back: { path: PATH, name: 'Keys and sessions' },
      section: PATH,
      errors,
    },
    <Field name="name" label="Name" value={name} errors={errors} isRequired autofocus />,
  )
}

function revokePage(c: Context<HonoEnv>, key: CallerKey, keys: readonly CallerKey[]) {
  const now = Date.now()
  const writers = keys.filter((one) => one.access === 'write' && !hasExpired(one, now))
  const isLastWriter = writers.length === 1 && writers[0]?.id === key.id
  return page(
    c,
    { title: `Revoke ${isolated(key.name)}`, section: PATH },
    <Confirm
      title={
        <>
          Revoke API key <bdi>{key.name}</bdi>?
        </>
      }
      action={`${PATH}/${key.id}/revoke`}
      verb="Revoke API key"
      back={PATH}
    >
      <p>
        Requests with this key are refused immediately, and its sessions end. Secrets that it created keep working. This
        can’t be undone.{' '}
        {key.lastUsedAt === null ? (
          'It was never used.'
        ) : (
          <>
            It was last used <Time at={key.lastUsedAt} now={now} />.
          </>
        )}
      </p>
      {[...readSettings(c.env).ACCESS_AUDIENCES.values()].includes(key.id) && (
        <p class="notice bad">
          People sign in through Cloudflare Access with this key. Once it is revoked, they can’t.
        </p>
      )}
      {key.leakReportedAt !== null && (
        <p class="notice bad">
          <span>
            It was reported as leaked <Time at={key.leakReportedAt} now={Date.now()} />.
          </span>
        </p>
      )}
      {key.isOwn && <p class="notice bad">You signed in with this key. Revoking it signs you out.</p>}
      {isLastWriter && (
        <p class="notice bad">
          This is the last API key with write access. Without it, most changes need a new key from the operator.
        </p>
      )}
    </Confirm>,
  )
}
