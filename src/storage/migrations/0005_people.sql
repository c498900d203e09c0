-- The people who sign in to the dashboard through Cloudflare Access. Adds columns, which rewrites no row and adds none to
-- any statement. An older Worker still serves while this is applied, so no new column has the name of a column in a table
-- that its statements join: the name would be ambiguous.

ALTER TABLE sessions ADD COLUMN session_person TEXT; -- email address; null if an API key signed in
ALTER TABLE sessions ADD COLUMN session_expires_at INTEGER; -- the end of the sign-in at Cloudflare Access; null for no such end
ALTER TABLE events ADD COLUMN actor_person TEXT; -- of the session; null for other callers
ALTER TABLE client_secrets ADD COLUMN created_by_person TEXT; -- of the session, at the creation

UPDATE schema_version SET version = 5;
