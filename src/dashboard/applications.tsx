import type { Context } from 'hono'
import { Hono } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Cell, curl, Empty, Row, Snippet, Table } from '../pages/parts.tsx'
import { Time } from '../pages/time.tsx'
import { type Application, listApplications, type Page } from '../storage/applications.ts'
import { page } from './layout.tsx'
import { mayWrite, requireSession } from './session.ts'

const PAGE_LENGTH = 25
/** Of a name: what is longer finds nothing. */
const LONGEST_SEARCH = 255

/** The list of applications: the first page. */
export const applicationList = new Hono<HonoEnv>().get('/', requireSession('read'), async (c) => {
  const search = (c.req.query('search') ?? '').trim().slice(0, LONGEST_SEARCH)
  const { after, before } = c.req.query()
  const id = after ?? before
  const options = { limit: PAGE_LENGTH, order: 'desc' as const, organizationId: null, ...(search && { search }) }
  const cursor = id === undefined ? null : { id, side: after === undefined ? ('before' as const) : ('after' as const) }
  const outcome = await listApplications(c.var.database, c.var.session, { ...options, cursor })
  if ('refused' in outcome && outcome.refused === 'invalid_cursor') return c.redirect('/dashboard', 303)
  return listPage(c, granted(c, outcome), search, cursor !== null)
})

export const TYPES = { m2m: 'Machine to machine', oauth: 'OAuth' } as const

function listPage(c: Context<HonoEnv>, { applications, hasMore }: Page, search: string, isLater: boolean) {
  const isEmpty = applications.length === 0 && search === '' && !isLater
  return page(
    c,
    { title: 'Applications', section: '/dashboard' },
    <>
      <div class="title">
        <h1>Applications</h1>
        {!isEmpty && (
          <search>
            <form class="search" action="/dashboard">
              <label for="search" class="said">
                Name or ID
              </label>
              <input
                id="search"
                name="search"
                value={search}
                placeholder="Name or ID"
                autocomplete="off"
                maxlength={LONGEST_SEARCH}
              />
              <button type="submit">Search</button>
            </form>
          </search>
        )}
        {mayWrite(c) && (
          <a class="button primary" href="/dashboard/applications/new">
            New application
          </a>
        )}
      </div>
      {isEmpty && <NoApplications c={c} />}
      {!isEmpty && applications.length === 0 && (
        <Empty title={search ? 'Nothing has this in its name' : 'There is nothing on this page'}>
          <p>
            A search looks for part of a name, or for a whole ID. <a href="/dashboard">Show all applications</a>
          </p>
        </Empty>
      )}
      {applications.length > 0 && <List applications={applications} />}
      <Paging applications={applications} hasMore={hasMore} search={search} />
    </>,
  )
}

const List = ({ applications }: { applications: readonly Application[] }) => {
  const now = Date.now()
  return (
    <Table label="Applications" columns={['Name', 'Client ID', 'Type', 'Organization', 'Created']}>
      {applications.map((application) => (
        <Row>
          <Cell kind="wide">
            <a class="name" href={`/dashboard/applications/${application.id}`}>
              {application.name}
            </a>
          </Cell>
          <Cell label="Client ID">
            <code>{application.clientId}</code>
          </Cell>
          <Cell label="Type">{TYPES[application.applicationType]}</Cell>
          <Cell label="Organization">
            {application.organizationId ? (
              <code>{application.organizationId}</code>
            ) : (
              <span class="quiet">first-party</span>
            )}
          </Cell>
          <Cell label="Created">
            <Time at={application.createdAt} now={now} />
          </Cell>
        </Row>
      ))}
    </Table>
  )
}

const Paging = ({ applications, hasMore, search }: Page & { search: string }) => {
  const link = (parameter: 'before' | 'after', id = '') =>
    `/dashboard?${new URLSearchParams({ ...(search && { search }), [parameter]: id })}`
  if (!hasMore.before && !hasMore.after) return null
  return (
    <nav class="row" aria-label="Pages">
      {hasMore.before && (
        <a class="button" href={link('before', applications.at(0)?.id)}>
          Newer
        </a>
      )}
      {hasMore.after && (
        <a class="button" href={link('after', applications.at(-1)?.id)}>
          Older
        </a>
      )}
    </nav>
  )
}

const NoApplications = ({ c }: { c: Context<HonoEnv> }) => (
  <Empty title="No applications yet">
    <p>
      An application is whatever authenticates: a job, a service, a partner’s system. It has a client ID, and up to a
      few client secrets at a time.
      {mayWrite(c) && (
        <>
          {' '}
          <a href="/dashboard/applications/new">Create the first one</a>, here or by a call:
        </>
      )}
    </p>
    {mayWrite(c) && (
      <Snippet
        id="create-application"
        title="Create an application"
        text={curl(new URL(c.req.url).origin, 'POST', '/connect/applications', {
          name: 'Nightly export',
          application_type: 'm2m',
          organization_id: 'org_example',
        })}
      />
    )}
  </Empty>
)
