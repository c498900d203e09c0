import { chmod, link, lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createPrivately, makePrivateFolder, readPrivately, writePrivately } from '../../src/cli/private-file.ts'
import { newFolder } from './folder.ts'

const modeOf = async (file: string) => (await lstat(file)).mode & 0o777

describe('a private file', () => {
  test('a private file is readable only for its owner, and no temporary file remains', async () => {
    const folder = await newFolder()
    await writePrivately(join(folder, 'deep/down/key'), 'secret')
    expect(await readFile(join(folder, 'deep/down/key'), 'utf8')).toBe('secret\n')
    expect(await modeOf(join(folder, 'deep/down/key'))).toBe(0o600)
    expect([await modeOf(join(folder, 'deep')), await modeOf(join(folder, 'deep/down'))]).toEqual([0o700, 0o700])
    expect(await readdir(join(folder, 'deep/down'))).toEqual(['key'])
  })

  test('a private file does not inherit the mode of an existing file in its place', async () => {
    const file = join(await newFolder(), 'key')
    for (const planted of [file, `${file}.new`]) {
      await writeFile(planted, '', { mode: 0o666 })
      await chmod(planted, 0o666)
    }
    await writePrivately(file, 'secret')
    expect(await modeOf(file)).toBe(0o600)
  })

  test('a private file replaces an existing link, and does not change the link’s target', async () => {
    const folder = await newFolder()
    const [file, hard, elsewhere] = [join(folder, 'key'), join(folder, 'hard'), join(folder, 'elsewhere')]
    await writeFile(elsewhere, 'mine')
    await symlink(elsewhere, file)
    await link(elsewhere, hard)
    await writePrivately(file, 'secret')
    await writePrivately(hard, 'secret')
    expect(await readFile(elsewhere, 'utf8')).toBe('mine')
    expect((await lstat(file)).isSymbolicLink()).toBe(false)
    expect([await modeOf(file), await modeOf(hard)]).toEqual([0o600, 0o600])
  })

  test('if several processes create a private file at once, one creates it and the others do not replace it', async () => {
    const file = join(await newFolder(), 'key')
    const results = await Promise.all(['a', 'b', 'c', 'd'].map((text) => createPrivately(file, text)))
    expect(results.filter((isMine) => isMine)).toHaveLength(1)
    const text = (await readFile(file, 'utf8')).trim()
    expect(results[['a', 'b', 'c', 'd'].indexOf(text)]).toBe(true)
  })

  test('a private file is not created in place of an existing link, even if the link’s target does not exist', async () => {
    const folder = await newFolder()
    await symlink(join(folder, 'target'), join(folder, 'key'))
    expect(await createPrivately(join(folder, 'key'), 'secret')).toBe(false)
    expect(await readdir(folder)).toEqual(['key'])
  })
})

describe('reading a private file', () => {
  test('reading a private file that does not exist returns null', async () => {
    expect(await readPrivately(join(await newFolder(), 'key'))).toBeNull()
  })

  test('reading a private file refuses a link', async () => {
    const folder = await newFolder()
    await writeFile(join(folder, 'target'), 'planted', { mode: 0o600 })
    await symlink(join(folder, 'target'), join(folder, 'key'))
    await expect(readPrivately(join(folder, 'key'))).rejects.toThrow('key is a link, or another user can write to it')
  })

  test.each([0o622, 0o620, 0o602])(
    'reading a private file refuses a file that others can write to: mode %o',
    async (mode) => {
      const file = join(await newFolder(), 'key')
      await writeFile(file, 'planted')
      await chmod(file, mode)
      await expect(readPrivately(file)).rejects.toThrow('so it is not trusted. Nothing was changed.')
    },
  )
})

test.each(['below', ''])('the error names a path at which the file cannot be written: %j', async (name) => {
  const folder = await newFolder()
  await writeFile(join(folder, 'file'), '')
  const file = join(folder, name === '' ? '' : 'file', name)
  await expect(writePrivately(file, 'secret')).rejects.toThrow(
    new RegExp(`^${file} cannot be written \\((EEXIST|EISDIR)\\)\\. Nothing was changed\\.$`),
  )
  await expect(createPrivately(join(folder, 'file', 'key'), 'secret')).rejects.toThrow('cannot be written (EEXIST)')
  expect(await readPrivately(join(folder, 'file', 'key'))).toBeNull()
  await expect(readPrivately(folder)).rejects.toThrow(`${folder} cannot be read (EISDIR). Nothing was changed.`)
})

test('making a private folder keeps the mode of an existing folder, and fails if a parent cannot be created', async () => {
  const folder = await newFolder()
  await mkdir(join(folder, 'open'), { mode: 0o755 })
  await makePrivateFolder(join(folder, 'open'))
  expect((await stat(join(folder, 'open'))).mode & 0o777).toBe(0o755)
  await writeFile(join(folder, 'file'), '')
  await expect(makePrivateFolder(join(folder, 'file'))).rejects.toThrow('EEXIST')
  await expect(makePrivateFolder('/proc/oncekey/state')).rejects.toThrow('ENOENT')
})
