import { expect, test } from 'vitest'
import { newDatabase } from './databases.ts'
import { cli } from './terminal.ts'

test('freezing and unfreezing an environment twice by command records one operator event of each type', async () => {
  const database = await newDatabase()
  await cli(['environment', 'create', '--name', 'staging'], { database })
  const freeze = (...words: string[]) => cli(['freeze', '--environment', 'staging', ...words], { database })
  expect((await freeze()).stdout).toBe(
    'staging is frozen: it issues no secrets and no tokens. To lift the freeze: npm run freeze -- --environment staging --lift\n',
  )
  const { json } = await freeze('--json')
  expect(json).toMatchObject({ object: 'environment', name: 'staging', frozen_at: expect.stringMatching(/Z$/) })
  expect((await freeze('--lift')).stdout).toBe('staging is not frozen: it issues secrets and tokens.\n')
  expect((await freeze('--lift', '--json')).json).toMatchObject({ frozen_at: null })
  const { results } = await database.prepare('SELECT type, actor_type FROM events ORDER BY seq').all()
  expect(results).toEqual(
    ['environment.frozen', 'environment.unfrozen'].map((type) => ({ type, actor_type: 'operator' })),
  )
})

test('the error for freezing an unknown environment lists the existing environments', async () => {
  const database = await newDatabase()
  await cli(['environment', 'create', '--name', 'staging'], { database })
  const { code, stderr } = await cli(['freeze', '--environment', 'production'], { database })
  expect(code).toBe(1)
  expect(stderr).toContain('The environments are: staging.')
})
