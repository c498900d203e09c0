import { LEFT_OUT, ROUTES } from './fuzz/routes.ts'

/** The IDs of one object of each kind that the dashboard has pages for. */
export interface Objects {
  readonly application: string
  readonly secret: string
  readonly event: string
  readonly endpoint: string
  readonly key: string
}

/** Every path of the dashboard that a browser opens, with the IDs of these objects. */
export function dashboardPaths({ application, secret, event, endpoint, key }: Objects): string[] {
  const ids = new Map([
    ['applications', application],
    ['keys', key],
    ['webhooks', endpoint],
  ])
  const idOf = (kind: string) => {
    const id = ids.get(kind)
    if (!id) throw new Error(`no object is known for /dashboard/${kind}/{id}`)
    return id
  }
  return [...ROUTES, ...LEFT_OUT]
    .filter(([method, path]) => method === 'GET' && path.startsWith('/dashboard'))
    .map(([, path]) =>
      path
        .replace(/(\w+)\/\{id\}/, (_, kind) => `${kind}/${idOf(kind)}`)
        .replace('{secret}', secret)
        .replace('{event}', event),
    )
}

/** A file, which is no page. */
export function isFile(path: string): boolean {
  return path.includes('/export')
}
