import { readSettings, SettingsError } from '../http/settings.ts'

/** The issuer of tokens, from the settings only: neither Host nor Forwarded changes it. Throws if it is not set. */
export function issuer(env: Env): string {
  const { ISSUER } = readSettings(env)
  if (ISSUER === '') throw new SettingsError('ISSUER is empty. `npm run deploy` and `npm run dev` set it.')
  return ISSUER
}
