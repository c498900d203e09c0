-- Times are unix milliseconds. Ids are a prefix and a ULID. Digests are SHA-256, 32 bytes.
-- Nothing here, alone or together, leads to a client secret or an API key.

CREATE TABLE environments (
  id TEXT PRIMARY KEY,
  client_id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL -- unix ms
) STRICT;

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  name TEXT NOT NULL,
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256 of the whole key
  access TEXT NOT NULL CHECK (access IN ('read', 'write')),
  created_at INTEGER NOT NULL, -- unix ms
  last_used_at INTEGER, -- unix ms, to the minute
  revoked_at INTEGER -- unix ms; a tombstone
) STRICT;

-- The operator's list of an environment's keys.
CREATE INDEX api_keys_by_environment ON api_keys (environment_id, created_at, id);

-- Somebody who signed in to the dashboard with an API key. Ends when signed out, with its key, and by 30 minutes of rest.
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  api_key_id TEXT NOT NULL REFERENCES api_keys (id),
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256 of the whole session credential
  created_at INTEGER NOT NULL, -- unix ms
  last_used_at INTEGER NOT NULL, -- unix ms, to the minute
  ended_at INTEGER -- unix ms; a tombstone
) STRICT;

-- The dashboard's list of those who are signed in.
CREATE INDEX sessions_by_environment ON sessions (environment_id, last_used_at);
-- Housekeeping: sessions that are over.
CREATE INDEX sessions_by_use ON sessions (last_used_at);

-- Whatever can call. Every statement of a request finds its environment here, by the digest of what the caller sent.
-- A session is its API key under another digest, for as long as it lasts.
CREATE VIEW callers AS
SELECT digest, id, name, environment_id, access FROM api_keys WHERE revoked_at IS NULL
UNION ALL
SELECT sessions.digest, api_keys.id, api_keys.name, api_keys.environment_id, api_keys.access
FROM sessions JOIN api_keys ON api_keys.id = sessions.api_key_id
WHERE sessions.ended_at IS NULL AND api_keys.revoked_at IS NULL
  AND sessions.last_used_at > unixepoch('subsec') * 1000 - 1800000;

CREATE TABLE applications (
  id TEXT PRIMARY KEY,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  client_id TEXT NOT NULL UNIQUE,
  application_type TEXT NOT NULL CHECK (application_type IN ('m2m', 'oauth')),
  name TEXT NOT NULL,
  description TEXT,
  scopes TEXT NOT NULL, -- JSON: array of strings
  organization_id TEXT, -- none on first-party oauth applications
  redirect_uris TEXT NOT NULL, -- JSON: array of {uri, default}; empty on m2m
  uses_pkce INTEGER NOT NULL CHECK (uses_pkce IN (0, 1)),
  is_first_party INTEGER NOT NULL CHECK (is_first_party IN (0, 1)),
  created_at INTEGER NOT NULL, -- unix ms
  updated_at INTEGER NOT NULL, -- unix ms
  deleted_at INTEGER, -- unix ms; a tombstone
  event_id TEXT NOT NULL -- the event of its last change
) STRICT;

-- Housekeeping: tombstones.
CREATE INDEX applications_by_deletion ON applications (deleted_at) WHERE deleted_at IS NOT NULL;

-- The list, by page, and by page within an organization.
CREATE INDEX applications_by_creation ON applications (environment_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX applications_by_organization ON applications (environment_id, organization_id, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE client_secrets (
  id TEXT PRIMARY KEY,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  application_id TEXT NOT NULL REFERENCES applications (id),
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256 of the whole secret
  secret_hint TEXT NOT NULL, -- its last six characters
  name TEXT,
  last_used_at INTEGER, -- unix ms
  expires_at INTEGER, -- unix ms
  expiry_noted_at INTEGER, -- unix ms; when the event of its expiry was made
  is_retiring INTEGER NOT NULL DEFAULT 0 CHECK (is_retiring IN (0, 1)), -- 1: rotated out, outside the limit
  disabled_at INTEGER, -- unix ms
  created_at INTEGER NOT NULL, -- unix ms
  updated_at INTEGER NOT NULL, -- unix ms; moved by changes, not by use
  revoked_at INTEGER, -- unix ms; a tombstone
  event_id TEXT NOT NULL -- the event of its last change
) STRICT;

-- The list of an application's secrets, oldest first, and their count against the limit, past any number of tombstones.
-- Not partial, so that it also serves the foreign key.
CREATE INDEX client_secrets_by_application ON client_secrets (application_id, revoked_at, created_at, id);
-- Search by the last characters, for whoever has found a secret where it should not be.
CREATE INDEX client_secrets_by_hint ON client_secrets (environment_id, secret_hint);
-- Housekeeping: expiries that no event tells of yet, and tombstones.
CREATE INDEX client_secrets_by_expiry ON client_secrets (expires_at) WHERE expires_at IS NOT NULL AND expiry_noted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX client_secrets_by_revocation ON client_secrets (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX client_secrets_by_noted_expiry ON client_secrets (expiry_noted_at) WHERE expiry_noted_at IS NOT NULL;

-- What happened, in the order in which it was committed.
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, -- the order
  id TEXT NOT NULL UNIQUE, -- made before the commit: names the event, does not order it
  environment_id TEXT NOT NULL REFERENCES environments (id),
  organization_id TEXT, -- of the application that it is about
  type TEXT NOT NULL,
  data TEXT NOT NULL, -- JSON: the row as the change left it, without its digest
  caller_id TEXT, -- which API key; null when time did it
  caller_name TEXT,
  request_id TEXT,
  created_at INTEGER NOT NULL -- unix ms
) STRICT;

-- The list, by page.
CREATE INDEX events_by_environment ON events (environment_id, seq);
CREATE INDEX events_by_organization ON events (environment_id, organization_id, seq);

-- Where events are sent to.
CREATE TABLE webhook_endpoints (
  id TEXT PRIMARY KEY,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  url TEXT NOT NULL,
  events TEXT NOT NULL, -- JSON: array of types; empty for all
  secret TEXT NOT NULL, -- signs what is sent, so that it is readable here: the one secret that is
  created_at INTEGER NOT NULL, -- unix ms
  deleted_at INTEGER -- unix ms
) STRICT;

CREATE INDEX webhook_endpoints_by_environment ON webhook_endpoints (environment_id, created_at, id) WHERE deleted_at IS NULL;

-- One event on its way to one endpoint, made together with the event.
CREATE TABLE webhook_deliveries (
  endpoint_id TEXT NOT NULL REFERENCES webhook_endpoints (id),
  event_id TEXT NOT NULL,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
  attempts INTEGER NOT NULL, -- begun
  next_attempt_at INTEGER NOT NULL, -- unix ms; while an attempt is under way, when its lease ends
  lease TEXT, -- names the attempt under way
  last_outcome TEXT, -- of the last attempt: its status, or what went wrong
  created_at INTEGER NOT NULL, -- unix ms
  settled_at INTEGER, -- unix ms; delivered, or dead
  PRIMARY KEY (endpoint_id, event_id)
) STRICT, WITHOUT ROWID;

-- What is due at an endpoint, the longest due first.
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, next_attempt_at) WHERE state = 'pending';
-- An attempt finds its own, and the list its latest.
CREATE INDEX webhook_deliveries_by_lease ON webhook_deliveries (lease) WHERE lease IS NOT NULL;
CREATE INDEX webhook_deliveries_by_environment ON webhook_deliveries (environment_id, created_at);
CREATE INDEX webhook_deliveries_settled ON webhook_deliveries (settled_at) WHERE settled_at IS NOT NULL;

-- A create that named itself by an Idempotency-Key, for the hour in which it may be sent again. One table for all kinds
-- of objects, because one key must not serve two different requests.
CREATE TABLE idempotency_records (
  digest BLOB PRIMARY KEY CHECK (length(digest) = 32), -- of the API key's digest and the Idempotency-Key
  environment_id TEXT NOT NULL REFERENCES environments (id),
  request_digest BLOB NOT NULL CHECK (length(request_digest) = 32), -- of method, path and body
  salt BLOB NOT NULL CHECK (length(salt) = 32), -- from which, with the API key, a client secret is derived again
  secret_prefix TEXT NOT NULL, -- and what stands before it, should the setting change meanwhile
  event_id TEXT NOT NULL, -- what it did; the event has the object as it was created
  created_at INTEGER NOT NULL -- unix ms
) STRICT, WITHOUT ROWID;

-- Housekeeping: records past the hour.
CREATE INDEX idempotency_records_by_creation ON idempotency_records (created_at);
