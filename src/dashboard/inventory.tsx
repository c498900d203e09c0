import type { Context } from 'hono'
import { Hono } from 'hono'
import { listedSecretToWire, timestamp } from '../contract/wire.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { csvOf, fileResponse } from '../pages/csv.ts'
import { Choice, PostForm } from '../pages/forms.tsx'
import { Empty, Hidden } from '../pages/parts.tsx'
import { listSecrets, MAX_READ, type SecretSurvey, surveySecrets } from '../storage/inventory.ts'
import type { ListedSecret } from '../storage/listed-secrets.ts'
import { creatorOf } from './event-words.ts'
import { readForm } from './form.tsx'
import {
  counted,
  type Filter,
  Filters,
  isFiltered,
  isTile,
  readFilter,
  secretsPath,
  sortsOf,
  storedFilter,
  Tiles,
} from './inventory-filter.tsx'
import { InventoryTable } from './inventory-table.tsx'
import { APPLICATIONS_PATH, page, SECRETS_PATH } from './layout.tsx'
import { may, requireSession } from './session.ts'

const PAGE_LENGTH = 20
/**
 * Maximum number of secrets in one file, and of secrets that an export reads. They limit the export to one D1 request
 * and a response of a few MB.
 */
const MAX_EXPORTED = 10_000
const MAX_EXPORT_READ = 50_000

const MAX_READ_TEXT = MAX_READ.toLocaleString('en')
const EXPORT_PATH = `${SECRETS_PATH}/export`

/** The inventory: a list of all secrets of the environment, in any state. */
export const inventory = new Hono<HonoEnv>()

  .get('/secrets', requireSession, async (c) => {
    const filter = readFilter((name) => c.req.query(name) ?? '')
    const { after, before } = c.req.query()
    const id = after ?? before
    const cursor =
      id === undefined ? null : { id, side: after === undefined ? ('before' as const) : ('after' as const) }
    const options = { ...storedFilter(filter), limit: PAGE_LENGTH, cursor }
    const now = Date.now()
    const survey = granted(c, await surveySecrets(c.get('database'), c.get('session'), options, now))
    return inventoryPage(c, filter, survey, now)
  })

  // A POST, so that no URL contains a pasted credential.
  .post('/secrets', requireSession, async (c) => c.redirect(secretsPath(readFilter(await readForm(c))), 303))

  .get('/secrets/export', requireSession, async (c) => {
    const filter = readFilter((name) => c.req.query(name) ?? '')
    const options = { ...storedFilter(filter), limit: MAX_EXPORTED, cursor: null, maxRead: MAX_EXPORT_READ }
    const now = Date.now()
    const list = granted(c, await listSecrets(c.get('database'), c.get('session'), options, now))
    const isComplete = list.after === null && !list.isCut
    const part = isComplete ? '' : `-first-${list.items.length}`
    const name = `secrets-${timestamp(now).slice(0, 10)}${part}`
    if (c.req.query('format') === 'json') {
      const data = list.items.map(listedSecretToWire)
      return fileResponse(c, `${name}.json`, 'application/json', JSON.stringify({ data, is_complete: isComplete }))
    }
    return fileResponse(c, `${name}.csv`, 'text/csv', csvOf(COLUMNS, list.items))
  })

const time = (at: number | null) => (at === null ? null : timestamp(at))

const COLUMNS: Readonly<Record<string, (secret: ListedSecret) => string | null>> = {
  id: ({ id }) => id,
  name: ({ name }) => name,
  hint: ({ hint }) => hint,
  state: ({ state }) => state,
  application_id: ({ applicationId }) => applicationId,
  application: ({ applicationName }) => applicationName,
  organization_id: ({ organizationId }) => organizationId,
  created_at: ({ createdAt }) => time(createdAt),
  created_by: ({ createdBy, createdByName, createdByPerson }) =>
    createdBy && creatorOf(createdByPerson, createdByName ?? createdBy, String),
  created_by_person: ({ createdByPerson }) => createdByPerson,
  created_by_api_key: ({ createdByName }) => createdByName,
  created_by_api_key_id: ({ createdBy }) => createdBy,
  last_used_at: ({ lastUsedAt }) => time(lastUsedAt),
  last_used_ip_prefix: ({ lastUsedAddress }) => lastUsedAddress,
  last_used_country: ({ lastUsedCountry }) => lastUsedCountry,
  last_used_user_agent: ({ lastUsedAgent }) => lastUsedAgent,
  expires_at: ({ expiresAt }) => time(expiresAt),
  scopes: ({ scopes }) => scopes?.join(' ') ?? null,
  allowed_ips: ({ allowedIps }) => allowedIps?.join(' ') ?? null,
  disabled_at: ({ disabledAt }) => time(disabledAt),
  revoked_at: ({ revokedAt }) => time(revokedAt),
}

function inventoryPage(c: Context<HonoEnv>, filter: Filter, survey: SecretSurvey, now: number) {
  const { items: secrets, counts, keys } = survey
  const selectable = secrets.filter(isCurrent).map(({ id }) => id)
  const isBulk = may(c, 'secrets:write') && selectable.length > 0
  const options = { secrets, now, sorts: sortsOf(filter), ...(isBulk && { choose: Choose }) }
  const table = <InventoryTable label="Secrets" {...options} />
  return page(
    c,
    { title: 'Secrets', section: SECRETS_PATH },
    <section class="inventory">
      <div class="title">
        <h1>Secrets</h1>
        <div class="row">
          <Export filter={filter} format="csv" name="CSV" />
          <Export filter={filter} format="json" name="JSON" />
        </div>
      </div>
      <Tiles filter={filter} counts={counts} />
      <details class="fold" open={!isTile(filter)}>
        <summary>
          {counted(counts.listed, counts)} of {counted(counts.counted, counts)} secrets. Filter and order
        </summary>
        <Filters filter={filter} keys={keys} />
      </details>
      {counts.counted > MAX_READ && (
        <p class="quiet small">
          Counts cover the newest {MAX_READ_TEXT} secrets. A file has at most {MAX_EXPORTED.toLocaleString('en')}{' '}
          secrets. If some are missing, its name has “first”.
        </p>
      )}
      {survey.isCut && <Cut filter={filter} />}
      {secrets.length > 0 &&
        (isBulk ? (
          <PostForm action={`${SECRETS_PATH}/bulk`} class="stack">
            {table}
            <div class="row">
              <Choice name="page" value={selectable.join(' ')} type="checkbox" isChosen={false}>
                All {selectable.length} on this page
              </Choice>
              <button type="submit" name="action" value="disable">
                Disable selected…
              </button>
              <button type="submit" name="action" value="revoke" class="danger">
                Revoke selected…
              </button>
            </div>
          </PostForm>
        ) : (
          table
        ))}
      {secrets.length === 0 && <NoSecrets filter={filter} survey={survey} />}
      <Paging filter={filter} survey={survey} />
    </section>,
  )
}

/** Says that the list is incomplete and why, with a link to the order that lists all secrets. */
const Cut = ({ filter }: { filter: Filter }) => (
  <p class="notice">
    <span>
      This list is not complete.{' '}
      {filter.application || filter.state === 'leaked' ? (
        <>Only {MAX_READ_TEXT} secrets with this filter were searched.</>
      ) : (
        <>
          This order compares only the newest {MAX_READ_TEXT} secrets.{' '}
          <a href={secretsPath({ ...filter, sort: '' })}>Newest first</a> lists all secrets.
        </>
      )}
    </span>
  </p>
)

function isCurrent({ state }: ListedSecret): boolean {
  return state !== 'revoked' && state !== 'expired'
}

/** A checkbox for a secret. Revoked and expired secrets have none, because they cannot be changed. */
const Choose = (secret: ListedSecret) =>
  isCurrent(secret) && (
    <label class="choose">
      <input type="checkbox" name="secret" value={secret.id} />
      <Hidden>Select …{secret.hint}</Hidden>
    </label>
  )

const Export = ({ filter, format, name }: { filter: Filter; format: string; name: string }) => (
  <a class="button" href={secretsPath(filter, { format }, EXPORT_PATH)} download>
    Export {name}
  </a>
)

const NoSecrets = ({ filter, survey: { after } }: { filter: Filter; survey: SecretSurvey }) => (
  <Empty title={isFiltered(filter) ? 'No matching secrets' : 'No secrets yet'}>
    <p>
      {after !== null ? (
        `None among the ${MAX_READ_TEXT} secrets that were searched. Older ones follow on the next page.`
      ) : isFiltered(filter) ? (
        <a href={SECRETS_PATH}>Show all current secrets</a>
      ) : (
        <>
          Secrets belong to <a href={APPLICATIONS_PATH}>applications</a>. Create one on the page of an application.
        </>
      )}
    </p>
  </Empty>
)

const Paging = ({ filter, survey: { before, after } }: { filter: Filter; survey: SecretSurvey }) => {
  if (before === null && after === null) return null
  return (
    <nav class="row" aria-label="Pages">
      {before !== null && (
        <a class="button" href={secretsPath(filter, { before })}>
          Previous
        </a>
      )}
      {after !== null && (
        <a class="button" href={secretsPath(filter, { after })}>
          Next
        </a>
      )}
    </nav>
  )
}
