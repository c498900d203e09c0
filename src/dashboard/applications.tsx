import type { Context } from 'hono'
import { Hono } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { publicOrigin } from '../pages/document.tsx'
import { PostForm } from '../pages/forms.tsx'
import {
  type Column,
  curl,
  Empty,
  Hidden,
  Id,
  isolated,
  Name,
  NameOverId,
  Snippet,
  short,
  Table,
} from '../pages/parts.tsx'
import { Time } from '../pages/time.tsx'
import { type Application, listApplications } from '../storage/applications.ts'
import type { Page } from '../storage/paging.ts'
import { readForm } from './form.tsx'
import { APPLICATIONS_PATH, applicationPath, page } from './layout.tsx'
import { readSearch, searchPath } from './search.ts'
import { may, requireSession } from './session.ts'

const PAGE_LENGTH = 25
/** The maximum length of a name: a longer text cannot match. */
const MAX_SEARCH = 255

export const applicationList = new Hono<HonoEnv>()

  .get('/applications', requireSession, async (c) => {
    const search = (c.req.query('search') ?? '').trim().slice(0, MAX_SEARCH)
    const { after, before } = c.req.query()
    const id = after ?? before
    const order = c.req.query('sort') === 'oldest' ? ('asc' as const) : ('desc' as const)
    const options = { limit: PAGE_LENGTH, order, organizationId: null, ...(search && { search }) }
    const cursor =
      id === undefined ? null : { id, side: after === undefined ? ('before' as const) : ('after' as const) }
    const outcome = await listApplications(c.get('database'), c.get('session'), { ...options, cursor })
    if (outcome.refused === 'invalid_cursor') return c.redirect(APPLICATIONS_PATH, 303)
    return listPage(c, granted(c, outcome), { search, order }, cursor !== null)
  })

  // A POST, so that no URL contains a pasted credential.
  .post('/search', requireSession, async (c) => {
    const field = await readForm(c)
    const secret = readSearch(field('search'))
    if (secret?.text === null) return c.redirect(searchPath(secret), 303)
    const search = field('search').trim().slice(0, MAX_SEARCH)
    return c.redirect(search ? `${APPLICATIONS_PATH}?${new URLSearchParams({ search })}` : APPLICATIONS_PATH, 303)
  })

export const TYPES = { m2m: 'Machine to machine', oauth: 'OAuth' } as const

type List = Page<Application> & { readonly total: number }

/** The search and the order of the list. */
interface Shown {
  readonly search: string
  readonly order: 'asc' | 'desc'
}

function listPage(c: Context<HonoEnv>, list: List, shown: Shown, isLater: boolean) {
  const { search, order } = shown
  const applications = list.items
  const isEmpty = applications.length === 0 && search === '' && !isLater
  return page(
    c,
    { title: 'Applications', section: APPLICATIONS_PATH },
    <>
      <div class="title">
        <div class="row">
          <h1>Applications</h1>
          {search === '' ? (
            list.total > 0 && <span class="quiet">{list.total.toLocaleString('en')}</span>
          ) : (
            <a class="button plain" href={APPLICATIONS_PATH}>
              Clear search
            </a>
          )}
        </div>
        {!isEmpty && <Search search={search} />}
        {may(c, 'applications:write') && (
          <a class="button primary" href="/dashboard/applications/new">
            New application
          </a>
        )}
      </div>
      {isEmpty && <NoApplications c={c} />}
      {!isEmpty && applications.length === 0 && (
        <Empty title={search ? `No applications match “${search}”` : 'No applications on this page'}>
          <p>
            {list.after !== null && 'Not all applications were searched: the next page has older ones. '}
            Search looks for a part of a name, or for a whole ID. <a href={APPLICATIONS_PATH}>Show all applications</a>
          </p>
        </Empty>
      )}
      {applications.length > 0 && (
        <ApplicationTable
          applications={applications}
          now={Date.now()}
          sort={{
            href: listPath({ search, order: order === 'asc' ? 'desc' : 'asc' }),
            order: order === 'asc' ? 'ascending' : 'descending',
          }}
        />
      )}
      <Paging {...list} shown={shown} />
    </>,
  )
}

const Search = ({ search }: { search: string }) => (
  <search>
    <PostForm action="/dashboard/search" class="search">
      <label for="search">
        <Hidden>Name or ID</Hidden>
      </label>
      <input
        id="search"
        name="search"
        value={search}
        placeholder="Name or ID"
        autocomplete="off"
        maxlength={MAX_SEARCH}
      />
      <button type="submit">Search</button>
    </PostForm>
  </search>
)

/** The URL of the list. With a cursor in `more`, the URL of another page of it. */
function listPath({ search, order }: Shown, more: Record<string, string> = {}): string {
  const parameters = { ...(search && { search }), ...(order === 'asc' && { sort: 'oldest' }), ...more }
  const query = String(new URLSearchParams(parameters))
  return query ? `${APPLICATIONS_PATH}?${query}` : APPLICATIONS_PATH
}

interface ApplicationTableProps {
  readonly applications: readonly Application[]
  readonly now: number
  readonly sort?: Column<Application>['sort']
}

export const ApplicationTable = ({ applications, now, sort }: ApplicationTableProps) => (
  <Table
    label="Applications"
    columns={columnsAt(now, sort)}
    rows={applications.map((application) => ({ ...application, name: short(application.name) }))}
  />
)

const columnsAt = (now: number, sort: Column<Application>['sort']): Column<Application>[] => [
  {
    label: 'Application',
    kind: 'wide',
    cell: ({ id, name, clientId }) => (
      <NameOverId name={name} id={clientId} what={`Client ID of ${isolated(name)}`}>
        <a href={applicationPath(id)}>
          <Name>{name}</Name>
        </a>
      </NameOverId>
    ),
  },
  { label: 'Type', cell: ({ applicationType }) => TYPES[applicationType] },
  {
    label: 'Organization',
    cell: ({ organizationId }) =>
      organizationId ? <Id id={organizationId} what="Organization ID" /> : <span class="quiet">First-party</span>,
  },
  { label: 'Created', sort, cell: ({ createdAt }) => <Time at={createdAt} now={now} /> },
]

const Paging = ({ before, after, shown }: Page<Application> & { shown: Shown }) => {
  if (!before && !after) return null
  return (
    <nav class="row" aria-label="Pages">
      {before && (
        <a class="button" href={listPath(shown, { before })}>
          Previous
        </a>
      )}
      {after && (
        <a class="button" href={listPath(shown, { after })}>
          Next
        </a>
      )}
    </nav>
  )
}

const NoApplications = ({ c }: { c: Context<HonoEnv> }) => (
  <Empty title="No applications yet">
    <p>
      An application is a job, a service or a partner’s system that authenticates with a client ID and a client secret.
      {may(c, 'applications:write') && (
        <>
          {' '}
          <a href="/dashboard/applications/new">Create the first one</a> here, or with the API:
        </>
      )}
    </p>
    {may(c, 'applications:write') && (
      <Snippet
        id="create-application"
        title="Create an application"
        text={curl(publicOrigin(c), 'POST', '/connect/applications', {
          name: 'Nightly export',
          application_type: 'm2m',
          organization_id: 'org_example',
        })}
      />
    )}
  </Empty>
)
