import { ActionButton } from '../pages/forms.tsx'
import { type Column, Hidden, Hint, Menu, Name, short, Table } from '../pages/parts.tsx'
import { DAY_MS, Time } from '../pages/time.tsx'
import type { ClientSecret } from '../storage/client-secrets.ts'
import { applicationPath, secretPath } from './layout.tsx'

/** A credential that was used within this time is most likely in use. */
const IN_USE_MS = 7 * DAY_MS
/** A secret that expires within this time needs a replacement. */
const EXPIRING_MS = 7 * DAY_MS

export function isInUse({ lastUsedAt }: Pick<ClientSecret, 'lastUsedAt'>, now: number): boolean {
  return lastUsedAt !== null && now - lastUsedAt < IN_USE_MS
}

/** True if the secret authenticates now and does not expire soon. */
export function isActive(secret: ClientSecret, now: number): boolean {
  return stateOf(secret, now) === STATES.active
}

const STATES = {
  disabled: ['off', 'Disabled'],
  rotated: ['wait', 'Expires soon (rotated)'],
  expiring: ['wait', 'Expires soon'],
  active: ['good', 'Active'],
} as const

function stateOf({ disabledAt, isRotatedOut, expiresAt }: ClientSecret, now: number) {
  if (disabledAt !== null) return STATES.disabled
  if (isRotatedOut) return STATES.rotated
  return expiresAt !== null && expiresAt - now < EXPIRING_MS ? STATES.expiring : STATES.active
}

/** The name and the hint of a secret, which identify it for people. */
export const SecretName = ({ secret: { id, name, hint } }: { secret: Pick<ClientSecret, 'id' | 'name' | 'hint'> }) => (
  <>
    {name && (
      <>
        <Name>{name}</Name>{' '}
      </>
    )}
    <a href={secretPath(id)}>
      <Hint hint={hint} />
    </a>
  </>
)

/** Shows a secret in a table: its name over its hint. */
export const NamedSecret = ({ secret: { id, name, hint } }: { secret: ClientSecret }) => (
  <>
    <a class="line" href={secretPath(id)} title={name ?? undefined}>
      {name === null ? <span class="quiet">No name</span> : <Name>{name}</Name>}
      <Hidden> …{hint}</Hidden>
    </a>
    <Hint hint={hint} />
  </>
)

/** When a secret was last used, as a sentence. */
export const LastUse = ({ secret, now }: { secret: ClientSecret; now: number }) =>
  secret.lastUsedAt === null ? (
    'Never used.'
  ) : (
    <>
      Last used <Time at={secret.lastUsedAt} now={now} />.
    </>
  )

interface SecretTableProps {
  readonly secrets: readonly ClientSecret[]
  /** Unix ms. */
  readonly now: number
  readonly canWrite: boolean
}

/** The secrets of an application. */
export const SecretTable = ({ secrets, now, canWrite }: SecretTableProps) => (
  <Table
    label="Client secrets"
    rows={secrets.map((secret) => ({ ...secret, name: short(secret.name) }))}
    idOf={({ id }) => id}
    columns={[
      { label: 'Secret', kind: 'wide', cell: (secret) => <NamedSecret secret={secret} /> },
      { label: 'State', cell: (secret) => <State secret={secret} now={now} /> },
      { label: 'Last used', cell: ({ lastUsedAt }) => <LastUsed at={lastUsedAt} now={now} /> },
      { label: 'Expires', cell: ({ expiresAt }) => <TimeOrNever at={expiresAt} now={now} /> },
      { label: 'Created', kind: 'extra', cell: ({ createdAt }) => <Time at={createdAt} now={now} /> },
      ...(canWrite ? [actionColumn] : []),
    ]}
  />
)

export const TimeOrNever = ({ at, now }: { at: number | null; now: number }) =>
  at === null ? <span class="quiet">Never</span> : <Time at={at} now={now} />

/** When a secret or an API key was last used. */
export const LastUsed = ({ at, now }: { at: number | null; now: number }) =>
  at === null ? <span class="state">Never used</span> : <Time at={at} now={now} />

const State = ({ secret, now }: { secret: ClientSecret; now: number }) => {
  const [kind, text] = stateOf(secret, now)
  return <span class={`state ${kind}`}>{text}</span>
}

/** The buttons of a row. Each has a hidden text with the hint of its secret, for screen readers. */
const actionColumn: Column<ClientSecret> = {
  label: 'Actions',
  kind: 'actions',
  cell: (secret) => {
    const path = `${applicationPath(secret.applicationId)}/secrets/${secret.id}`
    const which = <Hidden> …{secret.hint}</Hidden>
    return (
      <>
        {secret.isRotatedOut && (
          <ActionButton action={`${path}/keep`}>
            Keep
            {which}
          </ActionButton>
        )}
        <a class="button plain" href={`${path}/edit`}>
          Edit
          {which}
        </a>
        <Menu id={`more-${secret.id}`} label={`More actions for …${secret.hint}`}>
          <ActionButton action={`${path}/${secret.disabledAt === null ? 'disable' : 'enable'}`}>
            {secret.disabledAt === null ? 'Disable' : 'Enable'}
            {which}
          </ActionButton>
          <a class="button plain danger" href={`${path}/revoke`} data-dialog>
            Revoke…
            {which}
          </a>
        </Menu>
      </>
    )
  },
}
