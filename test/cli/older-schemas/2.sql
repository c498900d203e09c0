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
  revoked_at INTEGER
) STRICT;
CREATE VIEW callers AS
SELECT digest, id, name, environment_id, access FROM api_keys WHERE revoked_at IS NULL;
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
  disabled_at INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  revoked_at INTEGER,
  event_id TEXT NOT NULL
) STRICT;
CREATE INDEX client_secrets_by_application ON client_secrets (application_id, revoked_at, created_at, id);
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  environment_id TEXT NOT NULL REFERENCES environments (id),
  type TEXT NOT NULL,
  data TEXT NOT NULL,
  caller_id TEXT NOT NULL,
  caller_name TEXT NOT NULL,
  request_id TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_environment ON events (environment_id, seq);
CREATE TABLE idempotency_records (
  digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
  environment_id TEXT NOT NULL REFERENCES environments (id),
  request_digest BLOB NOT NULL CHECK (length(request_digest) = 32),
  salt BLOB NOT NULL CHECK (length(salt) = 32),
  event_id TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
