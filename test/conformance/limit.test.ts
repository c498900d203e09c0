import { beforeAll, expect, test } from 'vitest'
import { newApiKey } from '../operator.ts'
import { serve } from '../served.ts'

/** Two Workers change the secrets of one application at once: at no moment has it more of them than it may have. */
const LIMIT = 3
const ROUNDS = 6
const AT_ONCE = 40

const served = await serve({ workers: 2, vars: { MAX_SECRETS_PER_APPLICATION: LIMIT, REQUEST_BUDGET_MS: 30_000 } })
const { database, origins, fetch } = served
const { apiKey } = await newApiKey(database)

/** How many secrets of an application count against the limit now, and how many are retiring; `application` is SQL. */
const counts = (application: string) =>
  `SELECT coalesce(sum(is_retiring = 0), 0) AS counted, coalesce(sum(is_retiring), 0) AS retiring FROM client_secrets
    WHERE application_id = ${application} AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > unixepoch('subsec') * 1000)`

interface Moment {
  readonly counted: number
  readonly retiring: number
}

beforeAll(async () => {
  // A change's event is the last of it: what is counted then is what the change leaves.
  await database.prepare('CREATE TABLE moments (application_id TEXT, counted INTEGER, retiring INTEGER)').run()
  await database
    .prepare(
      `CREATE TRIGGER watch AFTER INSERT ON events WHEN NEW.type LIKE 'connect_application_secret.%' BEGIN
        INSERT INTO moments (counted, retiring, application_id)
        SELECT *, NEW.data ->> 'application_id' FROM (${counts(`NEW.data ->> 'application_id'`)});
      END`,
    )
    .run()
})

let sent = 0

async function call(method: string, path: string, body?: object) {
  const response = await fetch(`${origins[sent++ % origins.length]}/connect${path}`, {
    method,
    headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, json: text && JSON.parse(text) }
}

const any = <T>(values: readonly T[]) => values[Math.floor(Math.random() * values.length)] as T

/** What is done at once to the secrets that the list shows: mostly what makes one count that did not. */
function change(application: string, ids: string[]) {
  const secrets = `/applications/${application}/client_secrets`
  const patch = (body: object) => call('PATCH', `/client_secrets/${any(ids)}`, body)
  return any([
    ['create', () => call('POST', secrets, {})],
    ['create', () => call('POST', secrets, {})],
    ['rotate', () => call('POST', `${secrets}/rotate`, { grace_period_seconds: any([0, 60, 60, 3600]) })],
    ['undo', () => patch({ expires_at: null })],
    ['undo', () => patch({ expires_at: null })],
    ['undo', () => patch({ expires_at: null, disabled: false })],
    ['enable', () => patch({ disabled: false })],
    ['disable', () => patch({ disabled: true })],
    ['revoke', () => call('DELETE', `/client_secrets/${any(ids)}`)],
  ] as const)
}

test('the limit holds at every moment, for those that count and for those that retire', async () => {
  const body = { application_type: 'm2m', name: 'Nightly', organization_id: 'org_1' }
  const application = (await call('POST', '/applications', body)).json.id
  const secrets = `/applications/${application}/client_secrets`
  const outcomes = new Map<string, number>()
  const polled: Moment[] = []
  let isOver = false
  const polling = (async () => {
    while (!isOver) polled.push((await database.prepare(counts('?')).bind(application).first<Moment>()) as Moment)
  })()

  for (let round = 0; round < ROUNDS; round++) {
    await call('POST', `${secrets}/rotate`, { grace_period_seconds: 3600 })
    const ids = (await call('GET', secrets)).json.map(({ id }: { id: string }) => id)
    const changes = Array.from({ length: AT_ONCE }, async () => {
      const [name, send] = change(application, ids)
      const { status, json } = await send()
      const outcome = `${name} ${status} ${status < 300 ? '' : json.code}`.trim()
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    })
    await Promise.all(changes)
  }
  isOver = true
  await polling

  const { results: moments } = await database
    .prepare('SELECT counted, retiring FROM moments WHERE application_id = ?')
    .bind(application)
    .all<Moment>()
  for (const seen of [moments, polled]) {
    expect(Math.max(...seen.map(({ counted }) => counted))).toBe(LIMIT)
    expect(Math.max(...seen.map(({ retiring }) => retiring))).toBe(LIMIT)
  }
  expect(moments.length).toBeGreaterThan(ROUNDS * 5)
  expect([...outcomes.keys()]).toEqual(
    expect.arrayContaining([
      'create 201',
      'create 422 client_secret_limit_reached',
      'rotate 201',
      'undo 200',
      'enable 200',
      'revoke 204',
    ]),
  )
  const others = [...outcomes.keys()].filter(
    (outcome) => !/(20\d|404 entity_not_found|422 client_secret_(limit_reached|expired))$/.test(outcome),
  )
  expect(others).toEqual([])
})

test('of all undone at once, as many succeed as there is room for', async () => {
  const body = { application_type: 'm2m', name: 'Nightly', organization_id: 'org_1' }
  for (let round = 0; round < 10; round++) {
    const application = (await call('POST', '/applications', body)).json.id
    const secrets = `/applications/${application}/client_secrets`
    const old = await Promise.all(Array.from({ length: LIMIT }, async () => (await call('POST', secrets)).json.id))
    await call('POST', `${secrets}/rotate`)
    const changes = [
      ...old.map((id) => call('PATCH', `/client_secrets/${id}`, { expires_at: null })),
      call('POST', secrets, {}),
    ]
    const statuses = (await Promise.all(changes)).map(({ status }) => status)
    expect(statuses.filter((status) => status < 300)).toHaveLength(LIMIT - 1)
    expect(statuses.filter((status) => status === 422)).toHaveLength(2)
    expect(await database.prepare(counts('?')).bind(application).first<Moment>('counted')).toBe(LIMIT)
  }
})
