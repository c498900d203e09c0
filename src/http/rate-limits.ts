/**
 * Counts one more of `key`, and tells whether there are too many. The platform counts per location, approximately. A
 * limiter that is missing, or fails, limits nobody: it must never keep the right secret out.
 */
export async function isOverLimit(limiter: RateLimit | undefined, key: string): Promise<boolean> {
  try {
    return limiter !== undefined && !(await limiter.limit({ key })).success
  } catch (error) {
    console.error({ message: 'rate limiter failed', error: String(error) })
    return false
  }
}
