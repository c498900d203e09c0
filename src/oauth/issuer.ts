/**
 * Who issues: the origin at which this Worker is reached, from its settings alone. Nothing of a request, neither Host
 * nor Forwarded, has a say. Throws where it is not set.
 */
export function issuer({ ISSUER }: Env): string {
  const url = URL.parse(ISSUER)
  if (!url || url.origin !== ISSUER) {
    throw new Error('ISSUER is not an origin such as https://secrets.example.com: `npm run deploy` sets it')
  }
  return ISSUER
}
