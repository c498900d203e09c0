import { Act, Cell, Hint, Row, Table } from '../pages/parts.tsx'
import { Time } from '../pages/time.tsx'
import type { FoundClientSecret, ListedClientSecret } from '../storage/application-secrets.ts'

interface SecretTableProps {
  readonly secrets: readonly (ListedClientSecret | FoundClientSecret)[]
  /** Of the application, in the dashboard; null where the secrets are of several. */
  readonly path: string | null
  /** Unix ms. */
  readonly now: number
  readonly mayWrite: boolean
}

export const SecretTable = ({ secrets, path, now, mayWrite }: SecretTableProps) => {
  const columns = ['Secret', ...(path ? [] : ['Application']), 'State', 'Last used', 'Expires', 'Created']
  const actions = mayWrite ? [<span class="said">What can be done</span>] : []
  return (
    <Table label="Client secrets" columns={[...columns, ...actions]}>
      {secrets.map((secret) => {
        const application = path ?? `/dashboard/applications/${secret.applicationId}`
        return (
          <Row id={secret.id}>
            <Cell kind="wide">
              {secret.name && <span class="name">{secret.name} </span>}
              <Hint hint={secret.hint} />
            </Cell>
            {'applicationName' in secret && (
              <Cell label="Application">
                <a href={`${application}#${secret.id}`}>{secret.applicationName}</a>
              </Cell>
            )}
            <Cell label="State">
              <State secret={secret} />
            </Cell>
            <Cell label="Last used">
              {secret.lastUsedAt === null ? (
                <span class="quiet">never</span>
              ) : (
                <Time at={secret.lastUsedAt} now={now} />
              )}
            </Cell>
            <Cell label="Expires">
              {secret.expiresAt === null ? <span class="quiet">never</span> : <Time at={secret.expiresAt} now={now} />}
            </Cell>
            <Cell label="Created">
              <Time at={secret.createdAt} now={now} />
            </Cell>
            {mayWrite && <Actions secret={secret} path={`${application}/secrets/${secret.id}`} />}
          </Row>
        )
      })}
    </Table>
  )
}

const State = ({ secret }: { secret: ListedClientSecret }) => {
  if (secret.disabledAt !== null) return <span class="state off">Disabled</span>
  if (secret.isRetiring) return <span class="state wait">Rotated out</span>
  return <span class="state good">Active</span>
}

/** Each says, to those who cannot see the row, which secret it means. */
const Actions = ({ secret, path }: { secret: ListedClientSecret; path: string }) => {
  const which = <span class="said"> …{secret.hint}</span>
  return (
    <Cell kind="actions">
      {secret.isRetiring && (
        <Act to={`${path}/keep`}>
          Take back
          {which}
        </Act>
      )}
      <a class="button plain" href={`${path}/edit`}>
        Edit
        {which}
      </a>
      {secret.disabledAt === null ? (
        <Act to={`${path}/disable`}>
          Disable
          {which}
        </Act>
      ) : (
        <Act to={`${path}/enable`}>
          Enable
          {which}
        </Act>
      )}
      <a class="button plain danger" href={`${path}/revoke`} data-dialog>
        Revoke
        {which}
      </a>
    </Cell>
  )
}
