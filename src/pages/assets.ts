import type { Context } from 'hono'
import type { HonoEnv } from '../http/context.ts'

/** The text of a file that is deployed beside the Worker, and no part of its bundle. The Worker alone reaches it. */
export async function asset(c: Context<HonoEnv>, name: string): Promise<string> {
  const response = await c.env.ASSETS.fetch(`https://assets.invalid/${name}`)
  if (!response.ok) throw new Error(`the asset ${name} is not there: ${response.status}`)
  return response.text()
}
