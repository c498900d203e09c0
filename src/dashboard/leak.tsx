import type { Context } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { readSettings } from '../http/settings.ts'
import { PostForm } from '../pages/forms.tsx'
import { Hint } from '../pages/parts.tsx'
import { ExactTime, Time } from '../pages/time.tsx'
import type { Activity } from '../storage/activity.ts'
import type { ListedSecret } from '../storage/listed-secrets.ts'
import type { SecretDetails } from '../storage/secret-details.ts'
import { actorOf } from './event-words.ts'
import { applicationPath, secretPath } from './layout.tsx'
import { may } from './session.ts'

interface LeakProps {
  readonly c: Context<HonoEnv>
  readonly details: SecretDetails
  readonly now: number
}

/** The section for a leaked secret: what still works, until when, and a button that revokes the secret. */
export const IfLeaked = ({ c, details, now }: LeakProps) => {
  const { secret, otherActive } = details
  const isEnded = secret.state === 'revoked' || secret.state === 'expired'
  return (
    <section class="box" aria-labelledby="leaked">
      <h2 id="leaked">{secret.leakReportedAt === null ? 'If it has leaked' : 'Reported as leaked'}</h2>
      {secret.leakReportedAt !== null && (
        <p class="notice bad">
          <span>
            <b>It was reported as leaked</b> <Time at={secret.leakReportedAt} now={now} />
            {secret.leakSource !== null && (
              <>
                , found at <code>{secret.leakSource}</code>
              </>
            )}
            .
          </span>
        </p>
      )}
      {isEnded ? <Ended details={details} now={now} /> : <Working secret={secret} />}
      <Tokens c={c} details={details} now={now} />
      {!isEnded && otherActive === 0 && (
        <p class="notice bad">
          <span>
            This application has no other working secret.{' '}
            {may(c, 'secrets:write') && (
              <>
                To keep the application running, <a href={`${applicationPath(secret.applicationId)}/rotate`}>rotate</a>{' '}
                first.
              </>
            )}
          </span>
        </p>
      )}
      {!isEnded && may(c, 'secrets:write') && (
        <PostForm action={`${secretPath(secret.id)}/revoke`}>
          <button type="submit" class="danger primary">
            Revoke <Hint hint={secret.hint} /> now
          </button>
        </PostForm>
      )}
      <p class="small quiet">
        {isEnded ? 'Read' : 'Then read'} its history for changes and uses that you don’t recognize
        {secret.createdBy !== null && ', and the activity of the API key that created it'}.
      </p>
    </section>
  )
}

const Working = ({ secret: { state } }: { secret: ListedSecret }) => (
  <p>
    {state === 'disabled'
      ? 'It does not work while it is disabled. Revoke it, so that it can’t be enabled again.'
      : null}
    {state !== 'disabled' && (
      <>
        <b>Revoke it.</b> It stops working immediately. This can’t be undone.
      </>
    )}
  </p>
)

const Ended = ({ details: { secret, history }, now }: Pick<LeakProps, 'details' | 'now'>) => {
  if (secret.state === 'expired')
    return (
      <p>
        It no longer works: it expired <Time at={secret.expiresAt ?? now} now={now} />.
      </p>
    )
  const revocation = history.find(isRevocation)
  return (
    <p>
      It no longer works: it was revoked
      {revocation && (
        <>
          {' '}
          by{' '}
          <b>
            <bdi>{actorOf(revocation.event)}</bdi>
          </b>
        </>
      )}{' '}
      <Time at={secret.revokedAt ?? now} now={now} />.
    </p>
  )
}

/** True if the event revoked the secret. */
function isRevocation({ event: { type, data } }: Activity): boolean {
  return type.endsWith('.deleted') || data.reaction === 'revoke'
}

/**
 * Shows when the last access token of the secret expires. This is the latest possible time, that of a token issued just
 * before the secret ended.
 */
const Tokens = ({ c, details: { secret, applicationType }, now }: LeakProps) => {
  if (applicationType === 'oauth')
    return <p>Secrets of OAuth applications obtain no access tokens, so nothing else has to expire.</p>
  const ended = secret.revokedAt ?? (secret.state === 'expired' ? (secret.expiresAt ?? now) : now)
  const last = ended + readSettings(c.env).ACCESS_TOKEN_TTL_SECONDS * 1000
  const isOver = last <= now
  return (
    <p>
      Introspection {ended < now ? 'has refused its access tokens since then' : 'then refuses its access tokens'}.
      Services that verify tokens offline {isOver ? 'accepted' : 'accept'} the last one until{' '}
      <b>
        <ExactTime at={last} />
      </b>
      {ended === now && ' at the latest, if you revoke the secret now'}.
    </p>
  )
}
