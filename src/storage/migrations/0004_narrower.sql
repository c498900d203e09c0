-- Narrower client secrets and API keys, reported leaks, frozen environments, paused webhook endpoints, and names of
-- persons. Adds columns, which rewrites no row. An older Worker still serves while this is applied: no new column may have
-- the name of a column in a table that its statements join: it would be ambiguous.

-- The reaction to a credential that is reported as leaked.
ALTER TABLE environments ADD COLUMN leak_reaction TEXT NOT NULL DEFAULT 'notify'
  CHECK (leak_reaction IN ('notify', 'disable', 'revoke'));
ALTER TABLE environments ADD COLUMN frozen_at INTEGER; -- no secrets and no tokens are issued since; null if not frozen
-- The policy for client secrets; null for no limit.
ALTER TABLE environments ADD COLUMN max_lifetime_days INTEGER; -- of a new secret
ALTER TABLE environments ADD COLUMN max_unused_days INTEGER; -- then cleanup disables it

ALTER TABLE client_secrets ADD COLUMN allowed_scopes TEXT; -- JSON: array, of the application's scopes; null for all of them
ALTER TABLE client_secrets ADD COLUMN allowed_ips TEXT; -- JSON: array of CIDR ranges; null for every address
ALTER TABLE client_secrets ADD COLUMN leak_reported_at INTEGER;
ALTER TABLE client_secrets ADD COLUMN leak_source TEXT;
ALTER TABLE client_secrets ADD COLUMN reminded_days INTEGER; -- the latest reminder before the expiry: 30, 7 or 1

ALTER TABLE api_keys ADD COLUMN key_expires_at INTEGER;
ALTER TABLE api_keys ADD COLUMN allowed_ips TEXT; -- JSON: array of CIDR ranges; null for every address
ALTER TABLE api_keys ADD COLUMN permissions TEXT; -- JSON: array; null for all that its access allows
ALTER TABLE api_keys ADD COLUMN leak_reported_at INTEGER;
ALTER TABLE api_keys ADD COLUMN leak_source TEXT;

ALTER TABLE sessions ADD COLUMN person TEXT; -- who signed in through Cloudflare Access
ALTER TABLE events ADD COLUMN person TEXT; -- of the session

ALTER TABLE webhook_endpoints ADD COLUMN paused_at INTEGER;
ALTER TABLE webhook_endpoints ADD COLUMN leak_reported_at INTEGER;
ALTER TABLE webhook_endpoints ADD COLUMN leak_source TEXT;

UPDATE schema_version SET version = 4;
