-- Fewer rows written per change, bounded reads, events that say where a change came from, and a schema version.
-- Brings a database of any edition of 0001 to one schema. What an older edition lacks is read as
-- (SELECT column FROM (SELECT * FROM table WHERE …)) beside a `missing` row: the name means the table's own column if
-- the table has it, and the default in `missing` if not.
PRAGMA defer_foreign_keys = true;

DROP VIEW IF EXISTS callers;

-- The version of the schema: one row. Each migration sets it.
CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT;
INSERT INTO schema_version VALUES (2);

-- The number of applications that are not deleted, for the limit.
ALTER TABLE environments ADD COLUMN application_count INTEGER NOT NULL DEFAULT 0;

CREATE TABLE new_api_keys (
  id TEXT PRIMARY KEY,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  name TEXT NOT NULL,
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256 of the API key
  access TEXT NOT NULL CHECK (access IN ('read', 'write')),
  created_at INTEGER NOT NULL, -- Unix ms, as are all times
  last_used_at INTEGER, -- accurate to the minute
  revoked_at INTEGER -- kept as a tombstone
) STRICT;
INSERT INTO new_api_keys
SELECT id, environment_id, name, digest, access, created_at,
  (SELECT last_used_at FROM (SELECT * FROM api_keys WHERE id = k.id)), revoked_at
FROM (SELECT NULL AS last_used_at) AS missing CROSS JOIN api_keys AS k;

-- A dashboard session of an API key. Ends by sign-out, with its key, after 30 minutes without use, and after 12 hours.
CREATE TABLE new_sessions (
  id TEXT PRIMARY KEY,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  api_key_id TEXT NOT NULL REFERENCES new_api_keys (id),
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256 of the session credential
  created_at INTEGER NOT NULL,
  last_used_at INTEGER NOT NULL, -- accurate to the minute
  ended_at INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (id, environment_id, api_key_id, digest, created_at, last_used_at, ended_at);
INSERT INTO new_sessions
SELECT id, environment_id, api_key_id, digest, created_at, last_used_at, ended_at FROM sessions;
DROP TABLE sessions;
DROP TABLE api_keys;
ALTER TABLE new_api_keys RENAME TO api_keys;
ALTER TABLE new_sessions RENAME TO sessions;

-- List of an environment's keys.
CREATE INDEX api_keys_by_environment ON api_keys (environment_id, created_at, id);
-- List of an environment's sessions, and a key's sessions against their limit.
CREATE INDEX sessions_by_environment ON sessions (environment_id, created_at) WHERE ended_at IS NULL;
-- Cleanup.
CREATE INDEX sessions_by_creation ON sessions (created_at);

-- Without a rowid, and by environment: the page of a list is a range of the table. IDs sort by creation.
CREATE TABLE new_applications (
  environment_id TEXT NOT NULL REFERENCES environments (id),
  id TEXT NOT NULL,
  client_id TEXT NOT NULL UNIQUE,
  application_type TEXT NOT NULL CHECK (application_type IN ('m2m', 'oauth')),
  name TEXT NOT NULL,
  description TEXT,
  scopes TEXT NOT NULL, -- JSON: array of strings
  organization_id TEXT, -- null for first-party oauth applications only
  redirect_uris TEXT NOT NULL, -- JSON: array of {uri, default}; empty for m2m
  uses_pkce INTEGER NOT NULL CHECK (uses_pkce IN (0, 1)),
  is_first_party INTEGER NOT NULL CHECK (is_first_party IN (0, 1)),
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER, -- kept as a tombstone
  event_id TEXT NOT NULL, -- the event of the last change
  PRIMARY KEY (environment_id, id)
) STRICT, WITHOUT ROWID;
INSERT INTO new_applications
SELECT environment_id, id, client_id, application_type, name, description, scopes, organization_id, redirect_uris,
  uses_pkce, is_first_party, created_at, updated_at, deleted_at, event_id
FROM applications;

CREATE TABLE new_client_secrets (
  environment_id TEXT NOT NULL REFERENCES environments (id),
  id TEXT NOT NULL,
  application_id TEXT NOT NULL,
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256 of the secret
  secret_hint TEXT NOT NULL, -- its last six characters
  name TEXT,
  created_by TEXT, -- API key
  last_used_at INTEGER, -- accurate to the minute
  expires_at INTEGER,
  expiry_noted_at INTEGER, -- when the event of the expiry was recorded
  retires_at INTEGER, -- the end of the grace period of the rotation that replaced it
  disabled_at INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL, -- set by changes, not by use
  revoked_at INTEGER, -- kept as a tombstone
  event_id TEXT NOT NULL, -- the event of the last change
  -- Rotated out, so it does not count against the limit: until its expiry is moved beyond the grace period.
  is_rotated_out INTEGER AS (coalesce(expires_at <= retires_at, 0)) VIRTUAL,
  ended_at INTEGER AS (coalesce(revoked_at, expiry_noted_at, 0)) VIRTUAL, -- 0 if it has not ended
  -- When cleanup has something to do: record the expiry, or remove what ended 90 days ago.
  due_at INTEGER AS (coalesce(revoked_at + 7776000000, expiry_noted_at + 7776000000, expires_at)) VIRTUAL,
  -- No foreign key to applications: its check would read all secrets of the environment. The statement that inserts a
  -- secret joins the application, and cleanup removes no application that still has secrets.
  PRIMARY KEY (environment_id, id)
) STRICT, WITHOUT ROWID;
INSERT INTO new_client_secrets (environment_id, id, application_id, digest, secret_hint, name, created_by, last_used_at,
  expires_at, expiry_noted_at, retires_at, disabled_at, created_at, updated_at, revoked_at, event_id)
SELECT environment_id, id, application_id, digest, secret_hint, name, creation.caller_id, last_used_at, expires_at,
  (SELECT expiry_noted_at FROM (SELECT * FROM client_secrets WHERE id = s.id)),
  CASE (SELECT is_retiring FROM (SELECT * FROM client_secrets WHERE id = s.id)) WHEN 1 THEN expires_at END,
  disabled_at, created_at, updated_at, revoked_at, event_id
FROM (SELECT NULL AS expiry_noted_at, 0 AS is_retiring) AS missing CROSS JOIN client_secrets AS s
LEFT JOIN (SELECT data ->> 'id' AS secret_id, caller_id FROM events
  WHERE type IN ('connect_application_secret.created', 'connect_application_secret.rotated')) AS creation
  ON creation.secret_id = s.id;

DROP TABLE client_secrets;
DROP TABLE applications;
ALTER TABLE new_applications RENAME TO applications;
ALTER TABLE new_client_secrets RENAME TO client_secrets;

-- The list, by page, and by page within an organization, past any number of tombstones.
CREATE INDEX applications_by_creation ON applications (environment_id, id) WHERE deleted_at IS NULL;
CREATE INDEX applications_by_organization ON applications (environment_id, organization_id, id) WHERE deleted_at IS NULL;
-- Cleanup.
CREATE INDEX applications_by_deletion ON applications (deleted_at) WHERE deleted_at IS NOT NULL;
-- An application's live secrets, for the list and the limit, past any number of tombstones.
CREATE INDEX client_secrets_by_application ON client_secrets (environment_id, application_id, ended_at);
-- Search by the last characters.
CREATE INDEX client_secrets_by_hint ON client_secrets (environment_id, secret_hint);
-- Cleanup.
CREATE INDEX client_secrets_by_due ON client_secrets (due_at) WHERE due_at IS NOT NULL;

UPDATE environments SET application_count = (
  SELECT count(*) FROM applications WHERE environment_id = environments.id AND deleted_at IS NULL);

-- `seq` is the order of the commits. It is at least the time in microseconds, so that a range of time is a range of seq,
-- and that no number is used twice. Without AUTOINCREMENT, which writes a row of its own.
CREATE TABLE new_events (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE, -- made before the commit: names the event, does not order it
  environment_id TEXT NOT NULL REFERENCES environments (id),
  organization_id TEXT, -- of the application
  type TEXT NOT NULL,
  data TEXT NOT NULL, -- JSON: the row as the change left it, without its digest
  actor_type TEXT CHECK (actor_type IN ('api_key', 'session', 'operator', 'system')), -- null before this migration
  caller_id TEXT, -- the API key, also of a session; null for operator and system
  caller_name TEXT,
  session_id TEXT,
  request_id TEXT,
  client_request_id TEXT, -- the ID that the client gave its request
  address TEXT,
  country TEXT,
  user_agent TEXT,
  created_at INTEGER NOT NULL
) STRICT;
INSERT INTO new_events (seq, id, environment_id, organization_id, type, data, caller_id, caller_name, request_id, created_at)
SELECT 1000 * max(created_at) OVER (ORDER BY seq) + row_number() OVER (ORDER BY seq), id, environment_id,
  (SELECT organization_id FROM (SELECT * FROM events WHERE seq = e.seq)), type, data, caller_id, caller_name, request_id, created_at
FROM (SELECT NULL AS organization_id) AS missing CROSS JOIN events AS e;
DROP TABLE events;
ALTER TABLE new_events RENAME TO events;

-- The list, by page; of certain types; within an organization. Webhooks: what comes after an endpoint's cursor.
CREATE INDEX events_by_environment ON events (environment_id, seq);
CREATE INDEX events_by_type ON events (environment_id, type, seq);
CREATE INDEX events_by_organization ON events (environment_id, organization_id, type, seq);

CREATE TABLE IF NOT EXISTS webhook_endpoints (id, environment_id, url, events, secret, created_at, deleted_at);
CREATE TABLE new_webhook_endpoints (
  id TEXT PRIMARY KEY,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  url TEXT NOT NULL,
  events TEXT NOT NULL, -- JSON: array of types; empty for all
  secret TEXT NOT NULL, -- signs deliveries, so it is readable here: the only such secret
  cursor INTEGER NOT NULL, -- seq of the last event that was queued for it, or did not concern it
  delivered_count INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  deleted_at INTEGER
) STRICT;

CREATE TABLE IF NOT EXISTS webhook_deliveries (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at,
  lease, last_outcome, created_at, settled_at);
CREATE TABLE new_webhook_deliveries (
  endpoint_id TEXT NOT NULL REFERENCES new_webhook_endpoints (id),
  event_id TEXT NOT NULL,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
  attempts INTEGER NOT NULL, -- begun
  next_attempt_at INTEGER NOT NULL, -- during an attempt: when its lease ends
  lease TEXT, -- of the attempt that is being made
  last_outcome TEXT, -- of the last attempt: its status, or what failed
  created_at INTEGER NOT NULL,
  settled_at INTEGER, -- delivered or dead
  PRIMARY KEY (endpoint_id, event_id)
) STRICT, WITHOUT ROWID;
INSERT INTO new_webhook_endpoints
SELECT id, environment_id, url, events, secret, (SELECT coalesce(max(seq), 0) FROM events),
  (SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = webhook_endpoints.id AND state = 'delivered'),
  created_at, deleted_at
FROM webhook_endpoints;
INSERT INTO new_webhook_deliveries
SELECT endpoint_id, event_id, environment_id, state, attempts, next_attempt_at, lease, last_outcome, created_at, settled_at
FROM webhook_deliveries;
DROP TABLE webhook_deliveries;
DROP TABLE webhook_endpoints;
ALTER TABLE new_webhook_endpoints RENAME TO webhook_endpoints;
ALTER TABLE new_webhook_deliveries RENAME TO webhook_deliveries;

CREATE INDEX webhook_endpoints_by_environment ON webhook_endpoints (environment_id, created_at, id) WHERE deleted_at IS NULL;
-- What is due at an endpoint, the longest due first.
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, next_attempt_at) WHERE state = 'pending';
-- What can be revived at an endpoint.
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (endpoint_id) WHERE state = 'dead';
-- The deliveries of an attempt.
CREATE INDEX webhook_deliveries_by_lease ON webhook_deliveries (lease) WHERE lease IS NOT NULL;
-- The list of the latest.
CREATE INDEX webhook_deliveries_by_environment ON webhook_deliveries (environment_id, created_at);
-- Cleanup.
CREATE INDEX webhook_deliveries_settled ON webhook_deliveries (settled_at) WHERE settled_at IS NOT NULL;

CREATE TABLE new_idempotency_records (
  digest BLOB PRIMARY KEY CHECK (length(digest) = 32), -- of the API key's digest and the Idempotency-Key
  environment_id TEXT NOT NULL REFERENCES environments (id),
  request_digest BLOB NOT NULL CHECK (length(request_digest) = 32), -- of method, path and body
  salt BLOB NOT NULL CHECK (length(salt) = 32), -- from which, with the API key, a client secret is derived
  secret_prefix TEXT NOT NULL, -- of that secret
  event_id TEXT NOT NULL, -- the event has the object as it was created
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO new_idempotency_records
SELECT digest, environment_id, request_digest, salt,
  (SELECT secret_prefix FROM (SELECT * FROM idempotency_records WHERE digest = r.digest)), event_id, created_at
FROM (SELECT 'cs' AS secret_prefix) AS missing CROSS JOIN idempotency_records AS r;
DROP TABLE idempotency_records;
ALTER TABLE new_idempotency_records RENAME TO idempotency_records;
-- Cleanup.
CREATE INDEX idempotency_records_by_creation ON idempotency_records (created_at);
