CREATE TABLE environments (
  id TEXT PRIMARY KEY,
  client_id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  name TEXT NOT NULL,
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
  access TEXT NOT NULL CHECK (access IN ('read', 'write')),
  created_at INTEGER NOT NULL,
  last_used_at INTEGER,
  revoked_at INTEGER
) STRICT;
CREATE INDEX api_keys_by_environment ON api_keys (environment_id, created_at, id);
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  api_key_id TEXT NOT NULL REFERENCES api_keys (id),
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
  created_at INTEGER NOT NULL,
  last_used_at INTEGER NOT NULL,
  ended_at INTEGER
) STRICT;
CREATE INDEX sessions_by_environment ON sessions (environment_id, last_used_at);
CREATE INDEX sessions_by_use ON sessions (last_used_at);
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
  scopes TEXT NOT NULL,
  organization_id TEXT,
  redirect_uris TEXT NOT NULL,
  uses_pkce INTEGER NOT NULL CHECK (uses_pkce IN (0, 1)),
  is_first_party INTEGER NOT NULL CHECK (is_first_party IN (0, 1)),
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER,
  event_id TEXT NOT NULL
) STRICT;
CREATE INDEX applications_by_deletion ON applications (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX applications_by_creation ON applications (environment_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX applications_by_organization ON applications (environment_id, organization_id, created_at, id) WHERE deleted_at IS NULL;
CREATE TABLE client_secrets (
  id TEXT PRIMARY KEY,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  application_id TEXT NOT NULL REFERENCES applications (id),
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
  secret_hint TEXT NOT NULL,
  name TEXT,
  last_used_at INTEGER,
  expires_at INTEGER,
  expiry_noted_at INTEGER,
  is_retiring INTEGER NOT NULL DEFAULT 0 CHECK (is_retiring IN (0, 1)),
  disabled_at INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  revoked_at INTEGER,
  event_id TEXT NOT NULL
) STRICT;
CREATE INDEX client_secrets_by_application ON client_secrets (application_id, revoked_at, created_at, id);
CREATE INDEX client_secrets_by_hint ON client_secrets (environment_id, secret_hint);
CREATE INDEX client_secrets_by_expiry ON client_secrets (expires_at) WHERE expires_at IS NOT NULL AND expiry_noted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX client_secrets_by_revocation ON client_secrets (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX client_secrets_by_noted_expiry ON client_secrets (expiry_noted_at) WHERE expiry_noted_at IS NOT NULL;
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  organization_id TEXT,
  type TEXT NOT NULL,
  data TEXT NOT NULL,
  caller_id TEXT,
  caller_name TEXT,
  request_id TEXT,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_environment ON events (environment_id, seq);
CREATE INDEX events_by_organization ON events (environment_id, organization_id, seq);
CREATE TABLE webhook_endpoints (
  id TEXT PRIMARY KEY,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  url TEXT NOT NULL,
  events TEXT NOT NULL,
  secret TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  deleted_at INTEGER
) STRICT;
CREATE INDEX webhook_endpoints_by_environment ON webhook_endpoints (environment_id, created_at, id) WHERE deleted_at IS NULL;
CREATE TABLE webhook_deliveries (
  endpoint_id TEXT NOT NULL REFERENCES webhook_endpoints (id),
  event_id TEXT NOT NULL,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
  attempts INTEGER NOT NULL,
  next_attempt_at INTEGER NOT NULL,
  lease TEXT,
  last_outcome TEXT,
  created_at INTEGER NOT NULL,
  settled_at INTEGER,
  PRIMARY KEY (endpoint_id, event_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_lease ON webhook_deliveries (lease) WHERE lease IS NOT NULL;
CREATE INDEX webhook_deliveries_by_environment ON webhook_deliveries (environment_id, created_at);
CREATE INDEX webhook_deliveries_settled ON webhook_deliveries (settled_at) WHERE settled_at IS NOT NULL;
CREATE TABLE idempotency_records (
  digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
  environment_id TEXT NOT NULL REFERENCES environments (id),
  request_digest BLOB NOT NULL CHECK (length(request_digest) = 32),
  salt BLOB NOT NULL CHECK (length(salt) = 32),
  event_id TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_records_by_creation ON idempotency_records (created_at);
