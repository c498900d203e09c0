-- Narrower client secrets and API keys, reported leaks, frozen environments and paused webhook endpoints. Adds columns,
-- which rewrites no row. An older Worker still serves while this is applied, so no new column has the name of a column in
-- a table that its statements join: the name would be ambiguous.

-- The reaction to a credential that is reported as leaked.
ALTER TABLE environments ADD COLUMN leak_reaction TEXT NOT NULL DEFAULT 'notify'
  CHECK (leak_reaction IN ('notify', 'disable', 'revoke'));
ALTER TABLE environments ADD COLUMN frozen_at INTEGER; -- no secrets and no tokens are issued since; null if not frozen
-- The policy for client secrets; null for no limit.
ALTER TABLE environments ADD COLUMN max_lifetime_days INTEGER; -- of a new secret
ALTER TABLE environments ADD COLUMN max_unused_days INTEGER; -- then cleanup disables it
-- When cleanup has last looked at all secrets for unused ones, and the last secret of the look that is under way.
ALTER TABLE environments ADD COLUMN unused_checked_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE environments ADD COLUMN unused_checked_to TEXT;
CREATE INDEX environments_by_unused_check ON environments (unused_checked_at) WHERE max_unused_days IS NOT NULL;

ALTER TABLE client_secrets ADD COLUMN allowed_scopes TEXT; -- JSON: array, of the application's scopes; null for all of them
ALTER TABLE client_secrets ADD COLUMN allowed_ips TEXT; -- JSON: array of CIDR ranges; null for every address
ALTER TABLE client_secrets ADD COLUMN leak_reported_at INTEGER;
ALTER TABLE client_secrets ADD COLUMN leak_source TEXT;
-- The latest reminder before the expiry: 30, 7 or 1. One whose time had passed when the expiry was set counts, too.
ALTER TABLE client_secrets ADD COLUMN reminded_days INTEGER;
-- The time of the next reminder.
ALTER TABLE client_secrets ADD COLUMN reminder_due_at INTEGER AS (
  CASE WHEN coalesce(revoked_at, expiry_noted_at) IS NULL AND reminded_days IS NOT 1
  THEN expires_at - CASE reminded_days WHEN 30 THEN 604800000 WHEN 7 THEN 86400000 ELSE 2592000000 END END) VIRTUAL;
CREATE INDEX client_secrets_by_reminder ON client_secrets (reminder_due_at) WHERE reminder_due_at IS NOT NULL;
-- The overview lists secrets that are reported as leaked.
CREATE INDEX client_secrets_leaked ON client_secrets (environment_id, leak_reported_at) WHERE leak_reported_at IS NOT NULL;

ALTER TABLE api_keys ADD COLUMN key_expires_at INTEGER;
ALTER TABLE api_keys ADD COLUMN allowed_ips TEXT; -- JSON: CIDR ranges with the bits of their prefixes; null for every address
ALTER TABLE api_keys ADD COLUMN permissions TEXT; -- JSON: array; null for all that its access allows. Beside them, access is 'read'
ALTER TABLE api_keys ADD COLUMN leak_reported_at INTEGER;
ALTER TABLE api_keys ADD COLUMN leak_source TEXT;

ALTER TABLE webhook_endpoints ADD COLUMN paused_at INTEGER;
ALTER TABLE webhook_endpoints ADD COLUMN leak_reported_at INTEGER;
ALTER TABLE webhook_endpoints ADD COLUMN leak_source TEXT;
-- A reported signing secret is looked up.
CREATE INDEX webhook_endpoints_by_secret ON webhook_endpoints (secret) WHERE deleted_at IS NULL;

UPDATE schema_version SET version = 4;
