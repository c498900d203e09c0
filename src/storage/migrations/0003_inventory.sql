-- The inventory of client secrets: their creators, uses and histories. It adds columns, which rewrites no row, and makes
-- one index anew. It adds no row to any statement.

ALTER TABLE client_secrets ADD COLUMN created_by_name TEXT; -- of the API key, at the creation; null before this migration
-- The use at `last_used_at`.
ALTER TABLE client_secrets ADD COLUMN last_used_country TEXT; -- ISO 3166-1 alpha-2
ALTER TABLE client_secrets ADD COLUMN last_used_address TEXT; -- the network: /24 of IPv4, /48 of IPv6
ALTER TABLE client_secrets ADD COLUMN last_used_agent TEXT;
-- Minutes with a use, per day: up to 30 numbers of four digits, newest first, the first for the UTC day of `last_used_at`.
ALTER TABLE client_secrets ADD COLUMN used_minutes TEXT;
-- JSON: the IDs of the events of its latest changes, oldest first; null before the first change after this migration.
ALTER TABLE client_secrets ADD COLUMN history TEXT;

-- Search by four to six trailing characters (findSecrets, findClientSecretsByHint). Takes the place of an index by all six.
DROP INDEX client_secrets_by_hint;
CREATE INDEX client_secrets_by_hint ON client_secrets (environment_id, substr(secret_hint, -4));

UPDATE schema_version SET version = 3;
