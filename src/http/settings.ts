import { API_KEY_PREFIX, CREDENTIAL_PREFIX, recogniseCredential, SESSION_PREFIX } from '../credential/credential.ts'
import { regionOfId } from '../credential/id.ts'
import { parseRegions, type Region } from '../storage/regions.ts'

/** The settings in wrangler.toml. The Worker and the commands use this schema to check them. */

/**
 * A parser for one setting, and the requirement as text. Values are parsed, not coerced: `true`, `[5]` and `0x10` are
 * not numbers.
 */
interface Setting<T> {
  /** Returns undefined if the value is invalid. */
  readonly parse: (value: unknown) => T | undefined
  readonly requirement: string
}

/** Accepts a number, as in wrangler.toml, or a string of digits, as from Cloudflare's dashboard or `--var`. */
function integer(min: number, max: number): Setting<number> {
  return {
    requirement: `must be a whole number from ${min} to ${max}`,
    parse: (value) => {
      const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value
      return Number.isInteger(number) && Number(number) >= min && Number(number) <= max ? Number(number) : undefined
    },
  }
}

const boolean: Setting<boolean> = {
  requirement: 'must be true or false',
  parse: (value) =>
    value === true || value === 'true' ? true : value === false || value === 'false' ? false : undefined,
}

/**
 * Prefixes of other credentials and of IDs. A client secret with one of them would look like another kind of object.
 */
const RESERVED_PREFIXES = new Set([
  API_KEY_PREFIX,
  SESSION_PREFIX,
  'whsec',
  'client',
  'conn_app',
  'secret',
  'api_key',
  'env',
  'event',
  'we',
  'org',
])

const clientSecretPrefix: Setting<string> = {
  requirement: `must be 1 to 32 letters, digits or underscores, and none of ${[...RESERVED_PREFIXES].join(', ')}`,
  parse: (value) =>
    typeof value === 'string' && CREDENTIAL_PREFIX.test(value) && !RESERVED_PREFIXES.has(value.toLowerCase())
      ? value
      : undefined,
}

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

const originLike = (example: string): Setting<string> => ({
  requirement: `must be an https origin without a path or a trailing slash, such as ${example}, or http on loopback`,
  parse: (value) => {
    if (value === '') return value
    const url = typeof value === 'string' ? URL.parse(value) : null
    if (!url || url.origin !== value) return undefined
    return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.has(url.hostname)) ? value : undefined
  },
})

/** The issuer (RFC 8414 §2), without a path. It is empty until `npm run deploy` sets it. */
const issuerSetting = originLike('https://secrets.example.com')

const AUDIENCE = /^([\da-f]{64})=(api_key_[\dA-HJKMNP-TV-Z]{26})$/

/** Maps the audience tag of a Cloudflare Access application to the ID of an API key. */
const audiences: Setting<ReadonlyMap<string, string>> = {
  requirement:
    'must be TAG=API_KEY_ID, or several of them with commas between: each tag once, of 64 hexadecimal digits as Cloudflare Access shows it; or empty',
  parse: (value) => {
    if (typeof value !== 'string') return undefined
    const keys = new Map<string, string>()
    for (const part of value === '' ? [] : value.split(',')) {
      const [, tag, apiKeyId] = AUDIENCE.exec(part) ?? []
      if (!tag || !apiKeyId || keys.has(tag)) return undefined
      keys.set(tag, apiKeyId)
    }
    return keys
  },
}

/**
 * The URL of GitHub's public keys, by which leak reports in GitHub's format are verified. An attacker who could replace
 * these keys could forge reports, so the URL must be https, except on loopback. If it is empty, such reports are refused.
 */
const keysUrl: Setting<string> = {
  requirement: 'must be an https URL, http on loopback, or empty',
  parse: (value) => {
    if (value === '') return value
    const url = typeof value === 'string' ? URL.parse(value) : null
    const isAllowed = url?.protocol === 'https:' || (url?.protocol === 'http:' && LOOPBACK.has(url.hostname))
    return isAllowed ? (value as string) : undefined
  },
}

export const MAX_ACCESS_TOKEN_TTL_SECONDS = 86_400

/**
 * How long caches may keep the signing keys and other public documents. A planned rotation of the signing key publishes
 * the new key, and waits for this time before the key signs tokens.
 */
export const PUBLIC_CACHE_SECONDS = 300

const regions: Setting<readonly Region[]> = {
  requirement:
    'must be DIGIT=BINDING, or several of them with commas between, such as 0=DB,1=DB_WEUR: each digit once, from 0-9 and A-Z without I, L, O and U, and each binding once',
  parse: (value) => (typeof value === 'string' ? parseRegions(value) : undefined),
}

/** A Worker secret that `npm run recover` sets for the time of a recovery. Otherwise it is undefined. */
const maintenance: Setting<boolean> = {
  requirement: boolean.requirement,
  parse: (value) => (value === undefined ? false : boolean.parse(value)),
}

const SETTINGS = {
  REGIONS: regions,
  CLIENT_SECRET_PREFIX: clientSecretPrefix,
  MAX_SECRETS_PER_APPLICATION: integer(1, 100),
  MAX_APPLICATIONS_PER_ENVIRONMENT: integer(1, 10_000_000),
  REQUEST_BUDGET_MS: integer(1_000, 30_000),
  ISSUER: issuerSetting,
  ACCESS_TOKEN_TTL_SECONDS: integer(60, MAX_ACCESS_TOKEN_TTL_SECONDS),
  EVENT_RETENTION_DAYS: integer(1, 3_650),
  /** The maximum number of D1 queries per invocation: https://developers.cloudflare.com/d1/platform/limits/ */
  D1_QUERIES_PER_INVOCATION: integer(50, 1_000),
  /** An attempt must end within 30 seconds. After that time, another run may attempt the same delivery. */
  WEBHOOK_TIMEOUT_MS: integer(100, 20_000),
  WEBHOOKS_TO_LOCALHOST: boolean,
  GITHUB_KEYS_URL: keysUrl,
  ACCESS_TEAM_DOMAIN: originLike('https://TEAM.cloudflareaccess.com'),
  ACCESS_AUDIENCES: audiences,
  MAINTENANCE: maintenance,
} as const satisfies Readonly<Record<string, Setting<unknown>>>

export type Settings = {
  readonly [Name in keyof typeof SETTINGS]: Exclude<ReturnType<(typeof SETTINGS)[Name]['parse']>, undefined>
}

/** An error in the settings. A retry cannot succeed before the operator has corrected them. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError'
}

/**
 * Returns a description of each problem, with the name of the setting and the file. `isDatabase` tests whether a
 * binding is a D1 database. By default it reads the bindings from `variables`, as in the Worker.
 */
export function checkSettings(
  variables: object,
  file = 'wrangler.toml',
  isDatabase = (binding: string) => isD1Database(valueIn(variables, binding)),
): string[] {
  const problems = Object.entries(SETTINGS).flatMap(([name, { parse, requirement }]) => {
    const value = valueIn(variables, name)
    const parsed = parse(value)
    if (parsed === undefined) return [`${name} is ${shown(value)}. It ${requirement} (${file}).`]
    if (name !== 'REGIONS') return []
    const missing = (parsed as readonly Region[]).filter(({ binding }) => !isDatabase(binding))
    return missing.map(
      ({ binding }) => `${name} is ${shown(value)} (${file}), and wrangler.toml has no D1 database ${binding}.`,
    )
  })
  return problems.length > 0 ? problems : checkAccess(variables, file)
}

/** Cloudflare Access needs both settings. With only one of them, no person could sign in through Access. */
function checkAccess(variables: object, file: string): string[] {
  const { REGIONS, ACCESS_TEAM_DOMAIN, ACCESS_AUDIENCES } = parseSettings(variables)
  if ((ACCESS_TEAM_DOMAIN === '') !== (ACCESS_AUDIENCES.size === 0)) {
    const [set, empty] = ['ACCESS_TEAM_DOMAIN', 'ACCESS_AUDIENCES'].sort((a) => (valueIn(variables, a) === '' ? 1 : -1))
    return [`${set} is set, and ${empty} is empty. Set both, or leave both empty (${file}).`]
  }
  return [...ACCESS_AUDIENCES.values()]
    .filter((id) => !REGIONS.some(({ digit }) => digit === regionOfId(id)))
    .map((id) => `ACCESS_AUDIENCES has ${id} (${file}), whose region ${regionOfId(id)} is not in REGIONS.`)
}

function parseSettings(variables: object): Settings {
  const parsed = Object.entries(SETTINGS).map(([name, { parse }]) => [name, parse(valueIn(variables, name))])
  return Object.fromEntries(parsed) as Settings
}

function valueIn(variables: object, name: string): unknown {
  return Object.hasOwn(variables, name) ? (variables as Record<string, unknown>)[name] : undefined
}

/**
 * Returns true if a binding is a D1 database. A service binding to another Worker has a method for every name,
 * including `prepare` and `batch`. Unlike a D1 database, a service binding has `fetch`.
 */
function isD1Database(value: unknown): value is D1Database {
  if (typeof value !== 'object' || value === null || 'fetch' in value) return false
  const { prepare, batch } = value as Partial<D1Database>
  return typeof prepare === 'function' && typeof batch === 'function'
}

/** Returns a value as text for an error message. If the value is a credential, pasted by mistake, it is not shown. */
function shown(value: unknown): string {
  if (value === undefined) return 'missing'
  if (typeof value === 'string' && recogniseCredential(value)) return 'a credential'
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

/** The parsed settings by environment object, which all requests of an isolate share. */
const known = new WeakMap<object, Settings>()

/**
 * Returns the settings of the Worker. They are parsed once per isolate. Throws SettingsError if a setting is invalid.
 */
export function readSettings(env: object): Settings {
  const before = known.get(env)
  if (before) return before
  const problems = checkSettings(env)
  if (problems.length > 0) throw new SettingsError(problems.join(' '))
  const settings = parseSettings(env)
  known.set(env, settings)
  return settings
}

/**
 * Returns the issuer of tokens. It comes only from the settings, so a Host or Forwarded header cannot change it. Throws
 * SettingsError if it is empty.
 */
export function issuer(env: Env): string {
  const { ISSUER } = readSettings(env)
  if (ISSUER === '') throw new SettingsError('ISSUER is empty. `npm run deploy` and `npm run dev` set it.')
  return ISSUER
}

/** `npm run recover` uses this message to recognise a closed Worker. */
export const CLOSED_MESSAGE = 'Oncekey is closed for maintenance. Nothing was read or changed. Try again later.'

/** Returns true if the Worker is closed for maintenance, even if other settings are invalid. */
export function isClosed(env: object): boolean {
  return maintenance.parse(valueIn(env, 'MAINTENANCE')) === true
}
