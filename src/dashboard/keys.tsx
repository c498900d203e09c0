import type { Context } from 'hono'
import { Hono } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { ApiError, granted } from '../http/errors.ts'
import { Act, Cell, Confirm, Row, Table } from '../pages/parts.tsx'
import { Time } from '../pages/time.tsx'
import { type CallerKey, revokeCallerKey } from '../storage/api-keys.ts'
import { endSession, listCallers, type Session } from '../storage/sessions.ts'
import { page } from './layout.tsx'
import { mayWrite, requireSession, requireWriteAccess } from './session.ts'

const PATH = '/dashboard/keys'

/** Who can call, and an end to it: a stolen key shall not need a terminal. */
export const keys = new Hono<HonoEnv>()

  .get('/keys', requireSession('read'), async (c) => {
    const { keys, sessions } = granted(c, await listCallers(c.var.database, c.var.session, Date.now()))
    return keysPage(c, keys, sessions)
  })

  .get('/keys/:id/revoke', requireSession('read'), async (c) => {
    const { keys } = granted(c, await listCallers(c.var.database, c.var.session, Date.now()))
    const key = keys.find(({ id }) => id === c.req.param('id'))
    if (!key) throw new ApiError('entity_not_found')
    requireWriteAccess(c)
    return revokePage(c, key, keys)
  })

  .post('/keys/:id/revoke', requireSession('write'), async (c) => {
    granted(c, await revokeCallerKey(c.var.database, c.var.session, c.req.param('id'), Date.now()))
    return c.redirect(`${PATH}?notice=key-revoked`, 303)
  })

  .post('/sessions/:id/end', requireSession('write'), async (c) => {
    granted(c, await endSession(c.var.database, c.var.session, c.req.param('id'), Date.now()))
    return c.redirect(`${PATH}?notice=session-ended`, 303)
  })

const ACCESS = { read: 'Read', write: 'Read and write' } as const

function keysPage(c: Context<HonoEnv>, keys: CallerKey[], sessions: Session[]) {
  const now = Date.now()
  const actions = mayWrite(c) ? [<span class="said">What can be done</span>] : []
  return page(
    c,
    { title: 'Keys and sessions', section: PATH },
    <>
      <h1>Keys and sessions</h1>
      <section aria-labelledby="keys">
        <h2 id="keys">API keys</h2>
        <p class="quiet">
          Whoever has one of these can call the API and sign in here. New ones are made by whoever runs this Oncekey:{' '}
          <code>npm run api-key -- create</code>
        </p>
        <Table label="API keys" columns={['Name', 'Access', 'Last used', 'Created', ...actions]}>
          {keys.map((key) => (
            <Row>
              <Cell kind="wide">
                <span class="name">{key.name}</span>
                {key.isOwn && <span class="quiet"> (you)</span>}
                <span class="sub">
                  <code>{key.id}</code>
                </span>
              </Cell>
              <Cell label="Access">{ACCESS[key.access]}</Cell>
              <Cell label="Last used">
                {key.lastUsedAt === null ? <span class="quiet">never</span> : <Time at={key.lastUsedAt} now={now} />}
              </Cell>
              <Cell label="Created">
                <Time at={key.createdAt} now={now} />
              </Cell>
              {mayWrite(c) && (
                <Cell kind="actions">
                  <a class="button plain danger" href={`${PATH}/${key.id}/revoke`} data-dialog>
                    Revoke<span class="said"> {key.name}</span>
                  </a>
                </Cell>
              )}
            </Row>
          ))}
        </Table>
      </section>
      <section aria-labelledby="sessions">
        <h2 id="sessions">Sessions</h2>
        <p class="quiet">
          Who is signed in to this dashboard. A session ends after 30 minutes of rest, and with its key.
        </p>
        <Table label="Sessions" columns={['Key', 'Last used', 'Signed in', ...actions]}>
          {sessions.map((session) => (
            <Row>
              <Cell kind="wide">
                <span class="name">{session.keyName}</span>
                {session.isOwn && <span class="quiet"> (this session)</span>}
              </Cell>
              <Cell label="Last used">
                <Time at={session.lastUsedAt} now={now} />
              </Cell>
              <Cell label="Signed in">
                <Time at={session.createdAt} now={now} />
              </Cell>
              {mayWrite(c) && (
                <Cell kind="actions">
                  <Act to={`/dashboard/sessions/${session.id}/end`}>
                    End<span class="said"> the session of {session.keyName}</span>
                  </Act>
                </Cell>
              )}
            </Row>
          ))}
        </Table>
      </section>
    </>,
  )
}

function revokePage(c: Context<HonoEnv>, key: CallerKey, keys: readonly CallerKey[]) {
  const isLastWriter = !keys.some(({ id, access }) => id !== key.id && access === 'write') && key.access === 'write'
  return page(
    c,
    { title: `Revoke ${key.name}`, section: PATH, isNarrow: true },
    <Confirm
      title={`Revoke the API key ${key.name}?`}
      action={`${PATH}/${key.id}/revoke`}
      verb="Revoke key"
      back={PATH}
    >
      <p>
        Its calls are refused from now on, and its sessions end. Client secrets that it made stay good.{' '}
        {key.lastUsedAt === null ? (
          'It was never used.'
        ) : (
          <>
            It was last used <Time at={key.lastUsedAt} now={Date.now()} />.
          </>
        )}
      </p>
      {key.isOwn && <p class="notice bad">It is the key that you signed in with: you will be signed out.</p>}
      {isLastWriter && (
        <p class="notice bad">
          It is the last key that may write: until a new one is made in a terminal, nothing here can be changed.
        </p>
      )}
    </Confirm>,
  )
}
