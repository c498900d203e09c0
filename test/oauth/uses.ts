import { atEnd } from '../at-end.ts'

/** Counts the writes of last_used_at in a database, by any Worker. */
export async function countUses(binding: D1Database) {
  await binding.prepare('CREATE TABLE IF NOT EXISTS uses (secret_id TEXT NOT NULL)').run()
  await binding
    .prepare(
      `CREATE TRIGGER IF NOT EXISTS count_uses AFTER UPDATE OF last_used_at ON client_secrets
        BEGIN INSERT INTO uses (secret_id) VALUES (new.id); END`,
    )
    .run()
  atEnd(() => binding.batch(['TRIGGER count_uses', 'TABLE uses'].map((name) => binding.prepare(`DROP ${name}`))))
  return async (secretId: string): Promise<number> => {
    const counting = binding.prepare('SELECT count(*) AS written FROM uses WHERE secret_id = ?').bind(secretId)
    return (await counting.first<number>('written')) ?? 0
  }
}
