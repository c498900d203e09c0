import type { ListedSecret } from '../storage/listed-secrets.ts'

/** The states of a secret, in words. */
const STATE_LABELS: Readonly<Record<ListedSecret['state'], readonly [kind: string, label: string]>> = {
  active: ['good', 'Active'],
  expiring: ['wait', 'Expires soon'],
  disabled: ['off', 'Disabled'],
  expired: ['off', 'Expired'],
  revoked: ['bad', 'Revoked'],
}

export const SecretState = ({ secret: { state, isRotatedOut } }: { secret: ListedSecret }) => {
  const [kind, label] = STATE_LABELS[state]
  return (
    <span class={`state ${kind}`}>
      {label}
      {state === 'expiring' && isRotatedOut && ' (rotated)'}
    </span>
  )
}
