/**
 * Scopes of OpenID Connect. Libraries request them by default, so they are dropped instead of refused if the
 * application does not have them.
 */
const OPENID_SCOPES = new Set(['openid', 'profile', 'email', 'offline_access'])

/** A list of scopes (RFC 6749 §3.3). */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$/

/**
 * Returns the granted scopes as a space-delimited list: the requested scopes, or all allowed scopes if none is
 * requested. Returns null if `requested` is malformed or contains a scope that is neither allowed nor in OPENID_SCOPES.
 */
export function grantScope(requested: string | undefined, allowed: readonly string[]): string | null {
  if (!requested) return allowed.join(' ')
  if (!SCOPE.test(requested)) return null
  const scopes = [...new Set(requested.split(' '))].filter(
    (scope) => allowed.includes(scope) || !OPENID_SCOPES.has(scope),
  )
  return scopes.every((scope) => allowed.includes(scope)) ? scopes.join(' ') : null
}

/**
 * Returns the scopes of a token that are still allowed. Returns undefined if there are none, because an empty scope is
 * malformed.
 */
export function remainingScope(issued: string | undefined, allowed: readonly string[]): string | undefined {
  return (
    issued
      ?.split(' ')
      .filter((scope) => allowed.includes(scope))
      .join(' ') || undefined
  )
}
