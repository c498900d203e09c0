import { ExactTime } from '../pages/time.tsx'

const DAY_MS = 24 * 60 * 60 * 1000
const WIDTH = 600
const HEIGHT = 120
/** The minimum height of the bar of a day with a use. */
const LEAST = 3

interface UseChartProps {
  /** Minutes with a use per day, oldest first. The last one is today. */
  readonly minutes: readonly number[]
  readonly now: number
}

/**
 * A chart with a bar for each day. It needs no script and no inline style, which the policy of the page blocks: the
 * heights are attributes. A list below it has the numbers.
 */
export const UseChart = ({ minutes, now }: UseChartProps) => {
  const most = Math.max(...minutes)
  const used = minutes.filter((count) => count > 0).length
  const step = WIDTH / minutes.length
  const dayOf = (i: number) => now - (now % DAY_MS) - (minutes.length - 1 - i) * DAY_MS
  if (most === 0) return <p class="quiet">No use in the last {minutes.length} days.</p>
  return (
    <figure class="chart">
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`Used on ${used} of the last ${minutes.length} days, in at most ${minutesOf(most)} of a day.`}
      >
        {minutes.map((count, i) => {
          const height = count === 0 ? 1 : Math.max(LEAST, Math.round((count / most) * HEIGHT))
          return (
            <rect
              class={count === 0 ? 'none' : undefined}
              x={String(Math.round(i * step + step * 0.15))}
              y={String(HEIGHT - height)}
              width={String(Math.round(step * 0.7))}
              height={String(height)}
            >
              <title>{`${dateOf(dayOf(i))}: ${minutesOf(count)}`}</title>
            </rect>
          )
        })}
      </svg>
      <div class="row spread small quiet" aria-hidden="true">
        <span>{dateOf(dayOf(0))}</span>
        <span>most: {minutesOf(most)} a day</span>
        <span>today</span>
      </div>
      <figcaption class="small quiet">
        Minutes with at least one use, per day in UTC. Oncekey records a use at most once a minute, so this is not the
        number of uses.
      </figcaption>
      <details>
        <summary class="small">Show the numbers</summary>
        <dl class="facts">
          {minutes.map((count, i) =>
            count === 0 ? null : (
              <>
                <dt>{dateOf(dayOf(i))}</dt>
                <dd>{minutesOf(count)}</dd>
              </>
            ),
          )}
        </dl>
      </details>
    </figure>
  )
}

const date = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' })
const dateOf = (at: number) => date.format(at)
const minutesOf = (count: number) => (count === 1 ? '1 minute' : `${count.toLocaleString('en')} minutes`)

interface LastUseProps {
  readonly secret: {
    readonly lastUsedAt: number | null
    readonly lastUsedAddress: string | null
    readonly lastUsedCountry: string | null
    readonly lastUsedAgent: string | null
  }
}

/** When and from where a secret was last used. */
export const LatestUse = ({ secret }: LastUseProps) => {
  const { lastUsedAt, lastUsedAddress, lastUsedCountry, lastUsedAgent } = secret
  if (lastUsedAt === null) return <p>Never used.</p>
  const origin = [lastUsedAddress, lastUsedCountry].filter(Boolean).join(', ')
  return (
    <p>
      Last used <ExactTime at={lastUsedAt} />
      {origin && ` from ${origin}`}
      {lastUsedAgent && (
        <>
          {' '}
          with <bdi>{lastUsedAgent}</bdi>
        </>
      )}
      .
    </p>
  )
}
