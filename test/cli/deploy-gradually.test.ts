import { expect, test } from 'vitest'
import { runSteps } from '../../src/cli/command.ts'
import { gradualSteps } from '../../src/cli/deploy-gradually.ts'
import { Deployment, plan, URL } from './deployment.ts'
import { cli } from './terminal.ts'

/** `npm run deploy -- --gradual`: a version that serves no requests until the operator gives it some. */

const gradually = (deployment: Deployment, words: string[] = []) =>
  cli(['deploy', '--gradual', ...words], { platform: deployment.platform })

async function deployed() {
  const deployment = new Deployment()
  await deployment.deploy()
  const servingId = deployment.cloudflare.serving[0]?.version_id as string
  deployment.runs.length = 0
  deployment.cloudflare.changes.length = 0
  return { deployment, servingId }
}

test('a gradual deployment uploads a version with the same database, issuer and secrets, and the old version keeps serving', async () => {
  const { deployment, servingId } = await deployed()
  const { cloudflare } = deployment
  const { stdout, code } = await gradually(deployment)
  const { id, bindings, secrets } = cloudflare.versions.at(-1) ?? {}
  expect(cloudflare.serving).toEqual([{ version_id: servingId, percentage: 100 }])
  expect(deployment.runs).toEqual(['versions upload'])
  expect(bindings).toContainEqual({ type: 'plain_text', name: 'ISSUER', text: URL })
  expect(bindings).toContainEqual({ type: 'd1', name: 'DB', id: cloudflare.databases[0]?.described.uuid })
  expect(Object.keys(secrets ?? {})).toEqual(['SIGNING_KEY'])
  expect(stdout).toContain(`  npx wrangler versions deploy ${id}@10% ${servingId}@90% --name oncekey --yes\n`)
  expect(stdout).toContain(`  npx wrangler versions deploy ${id}@100% --name oncekey --yes\n`)
  expect(stdout).toContain(`  npx wrangler versions deploy ${servingId}@100% --name oncekey --yes\n`)
  expect(code).toBe(0)
})

test('a gradual deployment with --json prints the IDs of both versions', async () => {
  const { deployment, servingId } = await deployed()
  const { json } = await gradually(deployment, ['--json'])
  expect(json).toEqual({ version_id: deployment.cloudflare.versions.at(-1)?.id, serving_version_id: servingId })
})

test.each<[string, (deployment: Deployment) => Promise<unknown> | unknown, string]>([
  ['is the first', ({ cloudflare }) => Object.assign(cloudflare, { serving: [] }), 'Nothing is deployed yet.'],
  [
    'would get the secrets of a version that was rolled back',
    ({ cloudflare }) => cloudflare.addVersion({ secrets: {} }, false),
    'The newest version of the Worker does not serve all requests',
  ],
  [
    'has migrations',
    ({ cloudflare }) =>
      cloudflare.databases[0]?.d1.exec("DELETE FROM d1_migrations WHERE name = '0002_fewer_rows.sql'"),
    'oncekey lacks 0002_fewer_rows.sql, and the version that serves may not work with the new tables.',
  ],
])('a gradual deployment uploads nothing if the version %s', async (_, prepare, words) => {
  const { deployment } = await deployed()
  await prepare(deployment)
  const { stderr, code } = await gradually(deployment)
  expect(stderr).toContain(words)
  expect(code).toBe(1)
  expect(deployment.runs).toEqual([])
})

test('a gradual deployment uploads nothing if the issuer of tokens would change', async () => {
  const { deployment } = await deployed()
  const context = { platform: deployment.platform, progress: () => {} }
  const { steps } = gradualSteps(context, { ...plan, issuer: 'https://secrets.example.com' })
  await expect(runSteps(context, steps, 'it')).rejects.toThrow(
    `The issuer of tokens would change from ${URL} to https://secrets.example.com`,
  )
  expect(deployment.runs).toEqual([])
})
