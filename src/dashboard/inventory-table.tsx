import type { Child } from 'hono/jsx'
import { type Column, short, Table } from '../pages/parts.tsx'
import { ExactTime } from '../pages/time.tsx'
import type { ListedSecret } from '../storage/listed-secrets.ts'
import { secretsPath } from './inventory-filter.tsx'
import { applicationPath } from './layout.tsx'
import { SecretState } from './secret-state.tsx'
import { LastUsed, NamedSecret, TimeOrNever } from './secret-table.tsx'

interface InventoryTableProps<Secret extends ListedSecret> {
  readonly label: string
  readonly secrets: readonly Secret[]
  readonly now: number
  /** Renders a checkbox before each secret. */
  readonly choose?: (secret: Secret) => Child
  /** The links in the headers of the columns by which the list can be ordered. */
  readonly sorts?: Readonly<Partial<Record<'used' | 'expires' | 'created', Column<Secret>['sort']>>>
  /** Renders details below the state of each secret. */
  readonly detail?: (secret: Secret) => Child
}

/** A table of secrets of several applications, in any state. */
export const InventoryTable = <Secret extends ListedSecret>(props: InventoryTableProps<Secret>) => {
  const { label, now, choose, detail, sorts = {} } = props
  const secrets = props.secrets.map((secret) => ({
    ...secret,
    name: short(secret.name),
    applicationName: short(secret.applicationName),
  }))
  const columns: Column<(typeof secrets)[number]>[] = [
    {
      label: 'Secret',
      kind: 'wide',
      cell: (secret) =>
        choose ? (
          <div class="chosen">
            {choose(secret)}
            <div>
              <NamedSecret secret={secret} />
            </div>
          </div>
        ) : (
          <NamedSecret secret={secret} />
        ),
    },
    {
      label: 'Application',
      cell: ({ applicationId, applicationName }) => (
        <a class="line" href={applicationPath(applicationId)} title={applicationName}>
          <bdi>{applicationName}</bdi>
        </a>
      ),
    },
    {
      label: 'State',
      cell: (secret) => (
        <>
          <SecretState secret={secret} />
          {secret.revokedAt !== null && (
            <span class="sub">
              <ExactTime at={secret.revokedAt} />
            </span>
          )}
          {detail?.(secret)}
          {secret.leakReportedAt !== null && <b class="sub error">Reported as leaked</b>}
        </>
      ),
    },
    { label: 'Last used', sort: sorts.used, cell: ({ lastUsedAt }) => <LastUsed at={lastUsedAt} now={now} /> },
    { label: 'Expires', sort: sorts.expires, cell: ({ expiresAt }) => <TimeOrNever at={expiresAt} now={now} /> },
    {
      label: 'Created',
      kind: 'extra',
      sort: sorts.created,
      cell: (secret) => (
        <>
          <ExactTime at={secret.createdAt} />
          <Creator of={secret} />
        </>
      ),
    },
  ]
  return <Table label={label} columns={columns} rows={secrets} idOf={({ id }) => id} />
}

/** The person or the API key that created a secret, with a link to all secrets of this creator. */
const Creator = ({ of: { createdBy, createdByName, createdByPerson } }: { of: ListedSecret }) => {
  if (createdBy === null) return <span class="sub">creator unknown</span>
  const name = short(createdByPerson ?? createdByName ?? createdBy)
  return (
    <span class="sub line">
      by {createdByPerson === null && 'API key '}
      <a href={secretsPath({ creator: createdByPerson ?? createdBy })}>
        <bdi>{name}</bdi>
      </a>
    </span>
  )
}
