import type { Context } from 'hono'
import { Hono } from 'hono'
import type { Child, PropsWithChildren } from 'hono/jsx'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Name, short } from '../pages/parts.tsx'
import { Ago, DAY_MS, Time } from '../pages/time.tsx'
import type { CallerKey } from '../storage/api-keys.ts'
import { MAX_READ } from '../storage/inventory.ts'
import { EXPIRING_DAYS, UNUSED_DAYS } from '../storage/listed-secrets.ts'
import { findOverview, type Overview } from '../storage/overview.ts'
import { deliveryCount, type WebhookEndpoint } from '../storage/webhooks.ts'
import { EVENTS_PATH } from './event-filter.tsx'
import { EventTable } from './event-table.tsx'
import { counted } from './inventory-filter.tsx'
import { hasExpired } from './keys.tsx'
import { APPLICATIONS_PATH, page, SECRETS_PATH } from './layout.tsx'
import { isInUse, SecretName } from './secret-table.tsx'
import { may, requireSession } from './session.ts'
import { withoutQuery } from './webhooks.tsx'

const LISTED = 8
/** The maximum number of API keys that the overview lists for one kind of problem. */
const LISTED_KEYS = 5
const WEBHOOKS_PATH = '/dashboard/webhooks'
const EXPIRING_PATH = `${SECRETS_PATH}?state=expiring&sort=expires`
const KEYS_PATH = '/dashboard/keys'

/** The first page after sign-in: problems first, then the latest changes and the totals. */
export const overview = new Hono<HonoEnv>().get('/', requireSession, async (c) => {
  const now = Date.now()
  return overviewPage(c, granted(c, await findOverview(c.get('database'), c.get('session'), now, LISTED)), now)
})

function overviewPage(c: Context<HonoEnv>, found: Overview, now: number) {
  const leaks = leaked(found, now)
  // `lastUsedAt` covers only the secrets that were counted. If some were not counted, one of those may have been used.
  const isStarted = found.applications > 0 && (found.lastUsedAt !== null || found.secrets.counted > MAX_READ)
  return page(
    c,
    { title: 'Overview', section: '/dashboard' },
    <>
      <h1>Overview</h1>
      {!isStarted && <Checklist c={c} found={found} />}
      <Totals found={found} now={now} />
      {(isStarted || leaks.length > 0) && <Attention found={found} leaks={leaks} now={now} />}
      {found.activities.length > 0 && (
        <section aria-labelledby="activity">
          <div class="title">
            <h2 id="activity">Recent changes</h2>
            <a href={EVENTS_PATH}>All activity</a>
          </div>
          <EventTable activities={found.activities} now={now} />
        </section>
      )}
    </>,
  )
}

const Checklist = ({ c, found: { applications, secrets, lastUsedAt } }: { c: Context<HonoEnv>; found: Overview }) => (
  <section class="panel narrow" aria-labelledby="start">
    <h2 id="start">Get started</h2>
    <ol class="steps">
      <Step isDone={applications > 0} name="Create an application">
        {may(c, 'applications:write') && applications === 0 && (
          <a class="button primary" href={`${APPLICATIONS_PATH}/new`}>
            New application
          </a>
        )}
        {applications > 0 && secrets.counted === 0 && <a href={APPLICATIONS_PATH}>Open it</a>}
      </Step>
      <Step isDone={secrets.counted > 0} name="Create a client secret">
        To create a secret, open the page of an application. You’ll see the secret only once.
      </Step>
      <Step isDone={lastUsedAt !== null} name="See its first use">
        When your program authenticates, this page and the page of the secret show it.
      </Step>
    </ol>
  </section>
)

const Step = ({ isDone, name, children }: PropsWithChildren<{ isDone: boolean; name: string }>) => (
  <li>
    <b>{name}</b> {isDone && <span class="state good">Done</span>}
    {!isDone && <span class="sub">{children}</span>}
  </li>
)

const Totals = ({ found, now }: { found: Overview; now: number }) => {
  const { applications, secrets, expiringCount, endpoints, keys } = found
  return (
    <ul class="totals">
      <Total href={APPLICATIONS_PATH} name="Applications" count={applications.toLocaleString('en')} />
      <Total href={SECRETS_PATH} name="Current secrets" count={counted(secrets.current, secrets)} />
      <Total href={EXPIRING_PATH} name="Expiring" count={counted(expiringCount, secrets)} />
      <Total
        href={`${SECRETS_PATH}?unused=${UNUSED_DAYS}`}
        name={`Unused ${UNUSED_DAYS} days`}
        count={counted(secrets.unused, secrets)}
      />
      <Total href={`${SECRETS_PATH}?expiry=never`} name="Never expire" count={counted(secrets.never, secrets)} />
      {/* An API key that has only some permissions sees neither endpoints nor keys. */}
      {keys.length > 0 && (
        <>
          <Total href={WEBHOOKS_PATH} name="Endpoints" count={String(endpoints.length)} />
          <Total href={KEYS_PATH} name="API keys" count={String(keys.filter((key) => !hasExpired(key, now)).length)} />
        </>
      )}
    </ul>
  )
}

const Total = ({ href, name, count }: { href: string; name: string; count: string }) => (
  <li>
    <a href={href}>
      <b>{count}</b> <span>{name}</span>
    </a>
  </li>
)

const Attention = ({ found, leaks, now }: { found: Overview; leaks: Child[]; now: number }) => {
  const items = [
    ...leaks,
    ...expiring(found, now),
    ...endingKeys(found.keys, now),
    ...failing(found.endpoints),
    ...unused(found),
    ...idle(found.keys, now),
  ]
  return (
    <section aria-labelledby="attention">
      <h2 id="attention">Needs attention</h2>
      {items.length === 0 ? <p class="notice good">Nothing needs attention.</p> : <ul class="attention">{items}</ul>}
    </section>
  )
}

interface ItemProps {
  readonly kind: 'bad' | 'wait' | 'off'
  readonly label: string
}

const Item = ({ kind, label, children }: PropsWithChildren<ItemProps>) => (
  <li>
    <span class={`state ${kind}`}>{label}</span>
    <span>{children}</span>
  </li>
)

/** Credentials that are reported as leaked. */
function leaked({ leaked: secrets, areMoreLeaked, keys, endpoints }: Overview, now: number): Child[] {
  const item = (at: number | null, child: Child) =>
    at === null
      ? []
      : [
          <Item kind="bad" label="Reported as leaked">
            {child} was reported <Time at={at} now={now} />
          </Item>,
        ]
  return [
    ...secrets.flatMap((secret) =>
      item(
        secret.leakReportedAt,
        <>
          <SecretName secret={secret} /> of <bdi>{short(secret.applicationName)}</bdi> ({secret.state})
        </>,
      ),
    ),
    ...(areMoreLeaked
      ? [
          <Item kind="bad" label="Reported as leaked">
            More than {LISTED} secrets. <a href={`${SECRETS_PATH}?state=leaked`}>Show all leaked secrets</a>
          </Item>,
        ]
      : []),
    ...firstKeys(
      keys.filter(({ leakReportedAt }) => leakReportedAt !== null),
      { kind: 'bad', label: 'Reported as leaked' },
      ({ name, leakReportedAt }) =>
        item(
          leakReportedAt,
          <a href={KEYS_PATH}>
            API key <Name>{short(name)}</Name>
          </a>,
        ),
    ),
    ...endpoints.flatMap(({ url, leakReportedAt }) =>
      item(
        leakReportedAt,
        <a href={WEBHOOKS_PATH}>
          Signing secret of <bdi>{short(withoutQuery(url))}</bdi>
        </a>,
      ),
    ),
  ]
}

/** Secrets that expire soon. Those in use come first, because their programs will stop working. */
function expiring({ expiring: secrets, expiringCount, secrets: counts }: Overview, now: number): Child[] {
  const items = secrets
    .toSorted((one, other) => Number(isInUse(other, now)) - Number(isInUse(one, now)))
    .map((secret) => (
      <Item
        kind={isInUse(secret, now) ? 'bad' : 'wait'}
        label={isInUse(secret, now) ? 'Expires soon, in use' : 'Expires soon'}
      >
        <SecretName secret={secret} /> of <bdi>{short(secret.applicationName)}</bdi> expires{' '}
        <Time at={secret.expiresAt ?? now} now={now} />
        {secret.lastUsedAt !== null && (
          <>
            {' '}
            and was last used <Ago at={secret.lastUsedAt} now={now} />
          </>
        )}
      </Item>
    ))
  if (expiringCount > secrets.length)
    items.push(
      <Item kind="wait" label="Expires soon">
        <a href={EXPIRING_PATH}>Show all {counted(expiringCount, counts)} secrets that expire soon</a>
      </Item>,
    )
  return items
}

function unused({ secrets }: Overview): Child[] {
  const { unused } = secrets
  if (unused === 0) return []
  return [
    <Item kind="off" label="Unused">
      <a href={`${SECRETS_PATH}?unused=${UNUSED_DAYS}`}>
        {unused === 1 ? '1 secret was' : `${counted(unused, secrets)} secrets were`} not used for {UNUSED_DAYS} days
      </a>
    </Item>,
  ]
}

function failing(endpoints: readonly WebhookEndpoint[]): Child[] {
  return endpoints
    .filter(({ deliveries }) => deliveries.dead > 0)
    .map(({ url, deliveries: { dead, pending } }) => (
      <Item kind="bad" label="Webhook fails">
        <a href={WEBHOOKS_PATH}>
          <code>{short(withoutQuery(url))}</code>
        </a>{' '}
        has {deliveryCount(dead)} failed {dead === 1 ? 'delivery' : 'deliveries'}
        {pending > 0 && ` and ${deliveryCount(pending)} pending`}
      </Item>
    ))
}

/**
 * API keys that expire soon or have expired lately. The programs that use them stop working. The earliest expiry comes
 * first.
 */
function endingKeys(keys: readonly CallerKey[], now: number): Child[] {
  const ending = keys
    .flatMap(({ name, lastUsedAt, expiresAt }) => (expiresAt === null ? [] : [{ name, lastUsedAt, expiresAt }]))
    .filter(({ expiresAt }) => Math.abs(expiresAt - now) < EXPIRING_DAYS * DAY_MS)
    .toSorted((one, other) => one.expiresAt - other.expiresAt)
  return firstKeys(ending, { kind: 'wait', label: 'Expiring keys' }, ({ name, lastUsedAt, expiresAt }) => (
    <Item
      kind={isInUse({ lastUsedAt }, now) ? 'bad' : 'wait'}
      label={expiresAt <= now ? 'Expired' : isInUse({ lastUsedAt }, now) ? 'Expires soon, in use' : 'Expires soon'}
    >
      <a href={KEYS_PATH}>
        API key <Name>{short(name)}</Name>
      </a>{' '}
      {expiresAt <= now ? 'expired' : 'expires'} <Time at={expiresAt} now={now} />
      {lastUsedAt !== null && (
        <>
          {' '}
          and was last used <Ago at={lastUsedAt} now={now} />
        </>
      )}
    </Item>
  ))
}

/** The first API keys that need attention, and how many others there are. */
function firstKeys<Key>(keys: readonly Key[], rest: ItemProps, item: (key: Key) => Child): Child[] {
  const more = keys.length - LISTED_KEYS
  const first = keys.slice(0, LISTED_KEYS).map(item)
  if (more <= 0) return first
  return [
    ...first,
    <Item {...rest}>
      <a href={KEYS_PATH}>{more === 1 ? '1 more API key' : `${more} more API keys`}</a>
    </Item>,
  ]
}

/** API keys without a use for a long time. Such a key has no benefit, and may leak. */
function idle(keys: readonly CallerKey[], now: number): Child[] {
  const isUnused = ({ lastUsedAt, createdAt }: CallerKey) => now - (lastUsedAt ?? createdAt) > UNUSED_DAYS * DAY_MS
  const unused = keys.filter((key) => isUnused(key) && !hasExpired(key, now))
  return firstKeys(unused, { kind: 'off', label: 'Unused API key' }, ({ name, lastUsedAt }) => (
    <Item kind="off" label="Unused API key">
      <a href={KEYS_PATH}>
        <Name>{short(name)}</Name>
      </a>{' '}
      {lastUsedAt === null ? (
        'was never used'
      ) : (
        <>
          was last used <Time at={lastUsedAt} now={now} />
        </>
      )}
    </Item>
  ))
}
