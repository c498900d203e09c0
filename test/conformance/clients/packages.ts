import { execFile, execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    /** A folder with the programs and the npm packages that they import. */
    clientsFolder: string
  }
}

const NPM = [
  '@badgateway/oauth2-client@3.3.1',
  'express@5.3.0',
  'express-openapi-validator@5.6.2',
  'openid-client@5.7.1',
]

/** Debian's packages, each with a file of its own by which it is known to be installed. */
const DEBIAN = {
  curl: '/usr/bin/curl',
  wget: '/usr/bin/wget',
  'dovecot-core': '/usr/bin/doveadm',
  apache2: '/usr/sbin/apache2',
  'libapache2-mod-auth-openidc': '/usr/lib/apache2/modules/mod_auth_openidc.so',
  'python3-authlib': '/usr/lib/python3/dist-packages/authlib/__init__.py',
  'python3-httpx': '/usr/lib/python3/dist-packages/httpx/__init__.py',
  'python3-jwt': '/usr/lib/python3/dist-packages/jwt/__init__.py',
  'python3-pytest-asyncio': '/usr/lib/python3/dist-packages/pytest_asyncio/__init__.py',
  'golang-go': '/usr/bin/go',
  'php-cli': '/usr/bin/php',
  'php-curl': '/etc/php/8.2/mods-available/curl.ini',
  'ruby-openid-connect': '/usr/share/rubygems-integration/all/specifications/openid_connect-1.2.0.gemspec',
} as const
type DebianPackage = keyof typeof DEBIAN

export const hasDebianPackage = (name: DebianPackage): boolean => existsSync(DEBIAN[name])
const missingPackages = () => (Object.keys(DEBIAN) as DebianPackage[]).filter((name) => !hasDebianPackage(name))

/** Keeps packages from starting their services. */
const POLICY = '/usr/sbin/policy-rc.d'

async function installDebianPackages(): Promise<void> {
  const missing = missingPackages()
  const mayInstall = process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')
  if (missing.length === 0 || !mayInstall) return
  const hasPolicy = existsSync(POLICY)
  if (!hasPolicy) await writeFile(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, timeout: 300_000 }
    await promisify(execFile)('apt-get', ['update', '-qq'], options)
    await promisify(execFile)('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], options)
  } catch (error) {
    console.warn(`Debian's packages could not be installed: ${error}`)
  } finally {
    if (!hasPolicy) await rm(POLICY)
  }
}

/** Installs the packages for this run: npm's into a folder of their own, Debian's as root only. Missing ones are skipped. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'oncekey-clients-'))
  // Apache reads its files as another user.
  await chmod(folder, 0o711)
  await cp(join(import.meta.dirname, 'programs'), folder, { recursive: true })
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  await installDebianPackages()
  try {
    execFileSync('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', ...NPM], {
      cwd: folder,
      timeout: 180_000,
    })
  } catch (error) {
    console.warn(`npm's packages could not be installed: ${error}`)
  }
  for (const name of missingPackages()) console.warn(`Skipped: the tests of ${name}, because it is not installed.`)
  project.provide('clientsFolder', folder)
  return () => rm(folder, { recursive: true, force: true })
}
