import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { WorkOS } from '@workos-inc/node'
import fc from 'fast-check'
import * as openid from 'openid-client'
import { ORGANIZATION, secretsOf } from '../requests.ts'
import type { RawRequest } from './raw.ts'

/** Requests of real clients, recorded on their way, and changed at random. */

/** The Worker that the clients call. */
export interface Recorded {
  readonly origin: string
  readonly apiKey: string
}

/** Runs WorkOS's SDK, openid-client, curl and the dashboard's forms, and gives the bytes of their requests. */
export async function record({ origin, apiKey }: Recorded): Promise<Buffer[]> {
  const requests: Buffer[] = []
  const server = createServer(async (request, response) => {
    const body = await buffer(request)
    const { method = '', url = '', rawHeaders } = request
    const lines = rawHeaders.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${rawHeaders[i + 1]}`] : []))
    const bytes = Buffer.concat([
      Buffer.from(`${method} ${url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1'),
      body,
    ])
    requests.push(bytes)
    const headers = { ...request.headers, host: new URL(origin).host, origin }
    const forwarded = httpRequest(origin + url, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.rawHeaders)
      answer.pipe(response)
    })
    forwarded.end(body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  try {
    await useClients(`http://127.0.0.1:${port}`, port, apiKey)
  } finally {
    server.closeAllConnections()
    server.close()
  }
  // The requests go to the Worker itself from now on.
  return requests.map((bytes) =>
    Buffer.from(bytes.toString('latin1').replaceAll(`127.0.0.1:${port}`, new URL(origin).host), 'latin1'),
  )
}

async function useClients(url: string, port: number, apiKey: string): Promise<void> {
  const { connect } = new WorkOS(apiKey, { apiHostname: '127.0.0.1', port, https: false })
  const application = await connect.createM2MApplication('Nightly export', ORGANIZATION)
  const { id, secret } = await connect.createApplicationClientSecret({ id: application.id })
  await connect.listApplicationClientSecrets({ id: application.clientId })
  await connect.getApplication({ id: application.id })
  await connect.listApplications({ limit: 2 })

  const config = new openid.Configuration(
    { issuer: url, token_endpoint: `${url}/oauth2/token`, introspection_endpoint: `${url}/oauth2/introspection` },
    application.clientId,
    secret,
    openid.ClientSecretBasic(secret),
  )
  openid.allowInsecureRequests(config)
  const { access_token } = await openid.clientCredentialsGrant(config)
  await openid.tokenIntrospection(config, access_token)

  const curl = (...options: string[]) => promisify(execFile)('curl', ['-s', ...options]).catch(() => undefined)
  await curl('-X', 'POST', `${url}${secretsOf(application.id)}`, '-H', `Authorization: Bearer ${apiKey}`)
  await curl('-u', `${application.clientId}:${secret}`, `${url}/oauth2/token`, '-d', 'grant_type=client_credentials')

  const browser = { Origin: url, 'Sec-Fetch-Site': 'same-origin', Accept: 'text/html,application/xhtml+xml' }
  const submit = (path: string, fields: Record<string, string>, headers = {}) =>
    fetch(url + path, {
      method: 'POST',
      body: new URLSearchParams(fields),
      headers: { ...browser, ...headers },
      redirect: 'manual',
    })
  const signedIn = await submit('/dashboard/sign-in', { api_key: apiKey, to: '' })
  const Cookie = signedIn.headers.get('Set-Cookie')?.split(';')[0] ?? ''
  const page = `/dashboard/applications/${application.id}`
  for (const path of ['/dashboard', page, '/dashboard/secrets?state=active', '/dashboard/events', `${page}/new-secret`])
    await (await fetch(url + path, { headers: { ...browser, Cookie } })).text()
  await submit(`${page}/edit`, { name: 'Nightly' }, { Cookie })
  await submit(`${page}/secrets/${id}/disable`, {}, { Cookie })
  await connect.deleteClientSecret({ id })
}

const SPECIAL = [
  '\0',
  '\r',
  '\n',
  '\r\n',
  '\xff',
  '%00',
  '%',
  '"',
  "'",
  ':',
  ';',
  ',',
  ' ',
  '{',
  '..',
  '9',
  'A'.repeat(500),
]

/** One change of the bytes at a place of it. */
type Change = (bytes: Buffer, at: number, length: number, other: Buffer) => Buffer
const spliced = (bytes: Buffer, at: number, removed: number, ...added: Buffer[]) =>
  Buffer.concat([bytes.subarray(0, at), ...added, bytes.subarray(at + removed)])
const CHANGES: readonly Change[] = [
  (bytes, at, length) => spliced(bytes, at, 1, Buffer.from([(bytes[at] ?? 0) ^ (1 << (length % 8))])),
  (bytes, at, length) => spliced(bytes, at, length),
  (bytes, at, length) => spliced(bytes, at, 0, bytes.subarray(at, at + length)),
  (bytes, at, length) =>
    spliced(bytes, at, length % 2, Buffer.from(SPECIAL[length % SPECIAL.length] as string, 'latin1')),
  (bytes, at, length, other) => spliced(bytes, at, length, other.subarray(at, at + length)),
  (bytes, at) => bytes.subarray(0, at),
]

/** A recorded request with one or two changes. Most have a length that is right again, so that the body is read. */
export const mutated = (recorded: readonly Buffer[]): fc.Arbitrary<RawRequest> =>
  fc
    .record({
      bytes: fc.constantFrom(...recorded),
      changes: fc.array(
        fc.tuple(fc.constantFrom(...CHANGES), fc.double({ min: 0, max: 0.999, noNaN: true }), fc.nat({ max: 40 })),
        { minLength: 1, maxLength: 2 },
      ),
      other: fc.constantFrom(...recorded),
      isFramed: fc.constantFrom(true, true, true, false),
    })
    .map(({ bytes, changes, other, isFramed }) => {
      const changed = changes.reduce(
        (before, [change, at, length]) => change(before, Math.floor(at * before.length), length, other),
        bytes,
      )
      return { chunks: [isFramed ? framed(changed) : changed], ending: 'end' }
    })

/** The request with the length of its body. */
function framed(bytes: Buffer): Buffer {
  const [head = '', ...body] = bytes.toString('latin1').split('\r\n\r\n')
  const length = body.join('\r\n\r\n').length
  return Buffer.from([head.replace(/(content-length: )\d+/i, `$1${length}`), ...body].join('\r\n\r\n'), 'latin1')
}
