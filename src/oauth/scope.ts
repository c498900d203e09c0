/** Scopes of OpenID Connect, which libraries ask for by habit: dropped where the application has them not. */
const OPENID_SCOPES = new Set(['openid', 'profile', 'email', 'offline_access'])

/** RFC 6749 §3.3. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$/

/**
 * What is granted of the scope that a client asks for, as a space-delimited list: all that the application has when it
 * asks for none, and never more. Null for a malformed list, or a scope that the application has not.
 */
export function grantScope(asked: string | undefined, allowed: readonly string[]): string | null {
  if (!asked) return allowed.join(' ')
  if (!SCOPE.test(asked)) return null
  const scopes = [...new Set(asked.split(' '))].filter((scope) => allowed.includes(scope) || !OPENID_SCOPES.has(scope))
  return scopes.every((scope) => allowed.includes(scope)) ? scopes.join(' ') : null
}
