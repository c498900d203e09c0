/** Scopes of OpenID Connect, which libraries request by default: dropped if the application does not have them. */
const OPENID_SCOPES = new Set(['openid', 'profile', 'email', 'offline_access'])

/** RFC 6749 §3.3. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$/

/**
 * Grants scopes, as a space-delimited list: those requested, or all that are allowed if none are, and never others.
 * Null if the list is malformed or has a scope that is not allowed.
 */
export function grantScope(requested: string | undefined, allowed: readonly string[]): string | null {
  if (!requested) return allowed.join(' ')
  if (!SCOPE.test(requested)) return null
  const scopes = [...new Set(requested.split(' '))].filter(
    (scope) => allowed.includes(scope) || !OPENID_SCOPES.has(scope),
  )
  return scopes.every((scope) => allowed.includes(scope)) ? scopes.join(' ') : null
}

/** The scopes of a token that are still allowed; undefined if none is left, since an empty scope is malformed. */
export function remainingScope(issued: string | undefined, allowed: readonly string[]): string | undefined {
  return (
    issued
      ?.split(' ')
      .filter((scope) => allowed.includes(scope))
      .join(' ') || undefined
  )
}
