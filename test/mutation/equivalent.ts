/** Of several mutants of rights. */
const SAME_RIGHT =
  "No permission includes the right `'read'` or `''`, so that both let exactly the keys without permissions pass."

/** Mutants that no test can kill, because the program does the same: by file and text, each with its reason. */
export const EQUIVALENT: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'src/storage/caller-conditions.ts': {
    "function withinRanges({ addressBits = '' }: Caller): Sql { ⟶ '' ⟶ \"Stryker was here!\"":
      'Every range starts with 4 or 6, so that neither text starts with a range.',
    "return sql`unixepoch('subsec') * 1000 < ${changeDeadline(database)}` ⟶ h('subsec') * 1000 < ${changeD ⟶ h('subsec') * 1000 <= ${changeD":
      "They differ in one millisecond of D1's clock. The deadline has a margin of 500 ms, because that clock is not the Worker's.",
  },
  'src/dashboard/session.ts': {
    "const digest = await sha256(c.req.header(ASSERTION_HEADER) ?? '') ⟶ '' ⟶ \"Stryker was here!\"":
      'Without an assertion, no failure is recorded under the digest, and no key is asked for.',
    'const LOOPBACK = /^http:\\/\\/(localhost|127\\.0\\.0\\.1|\\[::1\\])(:|$)/ ⟶ /^http:\\/\\/( ⟶ /http:\\/\\/(':
      'An origin has its scheme at its start and nowhere else.',
  },
  'src/storage/client-secrets.ts': {
    'const grants: Sql[] = [] ⟶ [] ⟶ ["Stryker was here"]':
      'SQLite reads the text as false, as the condition of a change that grants nothing.',
    'const firstRevoked = sql`(SELECT min(id) FROM ${raw(BY_APPLICATION)} WHERE environment_id = ${environmentOf(change.caller)} ⟶ sql`(SELECT min(id) FROM  ⟶ sql`(SELECT max(id) FROM ':
      'The event names all secrets that the change revoked. Any one of them can stand for their application.',
  },
  'src/storage/issuing.ts': {
    'const isAllowed = expiresAt === null ? sql`true` : isAllowedExpiry(expiresAt, latest) ⟶ expiresAt === null ⟶ false':
      '`isAllowedExpiry` allows NULL.',
    "const isKnown = areScopesKnown(typeof limits === 'function' ? null : limits.scopes) ⟶ typeof limits === 'function' ⟶ false":
      'A function has no `scopes`, and `areScopesKnown` accepts undefined as it accepts null.',
    "const isKnown = areScopesKnown(typeof limits === 'function' ? null : limits.scopes) ⟶ 'function' ⟶ \"\"":
      'A function has no `scopes`, and `areScopesKnown` accepts undefined as it accepts null.',
    "retired: updateDependent(change, 'secrets:write', BY_APPLICATION, set, others), ⟶ 'secrets:write' ⟶ \"\"":
      'The others expire only if the new secret was inserted, whose statement has the same condition.',
    "'secrets:write', ⟶ 'secrets:write' ⟶ \"\"":
      'A replay is recorded only after it was granted, which needs the same right. The rights of an API key never change.',
    "const history = updateUnstamped(change.caller, 'secrets:write', 'client_secrets', set, sql`id = ${id} AND ${isNew}`) ⟶ 'secrets:write' ⟶ \"\"":
      'The history changes only if the event exists, whose statement has the same condition.',
  },
  'src/storage/sessions.ts': {
    "const { fromRow } = mapping<Session>('sessions', { ⟶ 'sessions' ⟶ \"\"":
      'Only the columns and the snapshot of a mapping have the name of its table, and `fromRow` is used alone.',
    "{ ...caller, kind: 'session', digest: replaces }, ⟶ 'session' ⟶ \"\"":
      "`scopeOf` takes every kind but `'api_key'` as a session.",
    "ended: endIfRecorded(change, 'write', sql`id = ${id}`), ⟶ 'write' ⟶ \"\"":
      'The session ends only if the event exists, whose statement has the same condition.',
    "'read', ⟶ 'read' ⟶ \"\"": SAME_RIGHT,
  },
  'src/storage/statements.ts': {
    "idempotency_records: 'read', ⟶ 'read' ⟶ \"\"": SAME_RIGHT,
    "api_keys: 'read', ⟶ 'read' ⟶ \"\"": SAME_RIGHT,
    "sessions: 'read', ⟶ 'read' ⟶ \"\"": SAME_RIGHT,
    "webhook_endpoints: 'read', ⟶ 'read' ⟶ \"\"": SAME_RIGHT,
    "webhook_deliveries: 'read', ⟶ 'read' ⟶ \"\"": SAME_RIGHT,
    'return sql`LIMIT ${rows} + 0` ⟶ sql`LIMIT ${rows} + 0` ⟶ sql`LIMIT ${rows} - 0`':
      'Both are an expression with the same value, which is all that it is for.',
  },
  'src/http/rate-limits.ts': {
    'if (name !== null) failedUntil.set(here(names, name), Date.now() + WINDOW_MS) ⟶ name !== null ⟶ true':
      'No window belongs to no name, so that an entry for it refuses no caller. It would only take a place.',
    'if (names.credential !== null) { ⟶ names.credential !== null ⟶ true':
      'Only a caller with a credential succeeds. The condition is for the type.',
  },
  'src/storage/client-authentication.ts': {
    'const scopes = clients[0]?.token_scopes ?? null ⟶ clients[0]?.token_sco ⟶ clients[0].token_sco':
      'readClient has thrown if there is no row.',
    'if (!isRotatedOut || expiresAt === null || expiresAt - now > LATE_USE_MS) return [] ⟶ expiresAt === null ⟶ false':
      'A secret that a rotation expires has an expiry. The condition is for the type.',
    'if (reason === undefined || secretId === null) return ⟶ secretId === null ⟶ false':
      'Each refusal with a reason in REASONS names a secret. The condition is for the type.',
  },
}
