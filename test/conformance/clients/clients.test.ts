import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { newApiKey } from '../../operator.ts'
import { m2mApplication, secretsOf } from '../../requests.ts'
import { freePort, serve } from '../../served.ts'
import { managementOf } from '../management.ts'
import { hasDebianPackage } from './packages.ts'

/** Client software of others, unmodified, as root installs it from Debian and npm. What is not installed is skipped. */
const folder = inject('clientsFolder')
const served = await serve({ tokens: 'RS256' })
const [issuer] = served.origins
const { apiKey } = await newApiKey(served.database)
const manage = managementOf(served, apiKey)
const { json: application } = await manage('POST', '/connect/applications', { body: m2mApplication })
const clientId: string = application.client_id
const secret: string = (await manage('POST', secretsOf(application.id))).json.secret
const tokenEndpoint = `${issuer}/oauth2/token`
const GRANT = 'grant_type=client_credentials'

const hasJdk = existsSync('/usr/bin/javac')
const hasPackage = (name: string) => existsSync(join(folder, 'node_modules', name))

/** Runs a program in the folder to its end. Returns its output, whatever its exit code. */
function run(command: string, args: readonly string[], { input = '', env = process.env } = {}): Promise<string> {
  return new Promise((resolve) => {
    const child = execFile(command, args, { cwd: folder, timeout: 150_000, env }, (error, stdout, stderr) =>
      resolve(error ? `${stdout}${stderr}${error.message}` : stdout),
    )
    child.stdin?.end(input)
  })
}

async function newToken(): Promise<string> {
  const body = new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId, client_secret: secret })
  const response = await fetch(tokenEndpoint, { method: 'POST', body })
  return ((await response.json()) as { access_token: string }).access_token
}

/** A discovery document as a deployment with https publishes it, which is the only kind that some software accepts. */
async function publishedDocument(name: string): Promise<string> {
  const text = await (await served.fetch(`${issuer}/.well-known/${name}`)).text()
  return text.replaceAll(issuer, 'https://oncekey.example')
}

describe('clients that send credentials only when they are challenged', () => {
  test.skipIf(!hasDebianPackage('curl'))('curl --anyauth gets a token', async () => {
    const output = await run('curl', ['-sS', '--anyauth', '-u', `${clientId}:${secret}`, '-d', GRANT, tokenEndpoint])
    expect(JSON.parse(output)).toHaveProperty('access_token')
  })

  test.skipIf(!hasDebianPackage('wget'))('wget --user gets a token', async () => {
    const credentials = [`--user=${clientId}`, `--password=${secret}`]
    const output = await run('wget', ['-qO-', ...credentials, `--post-data=${GRANT}`, tokenEndpoint])
    expect(JSON.parse(output)).toHaveProperty('access_token')
  })

  test.skipIf(!hasJdk)('Java’s HttpClient with an Authenticator gets a token', async () => {
    const output = await run('java', ['TokenRequest.java', tokenEndpoint, clientId, secret])
    expect(JSON.parse(output)).toHaveProperty('access_token')
  })
})

describe('OAuth and OpenAPI libraries', () => {
  const program = (name: string) => run(process.execPath, [`${name}.mjs`, issuer, clientId, secret, apiKey])

  test.skipIf(!hasPackage('@badgateway/oauth2-client'))(
    '@badgateway/oauth2-client obtains tokens for two resources with three authentication methods, and introspects them',
    async () => {
      expect((await program('badgateway')).trim().split('\n')).toEqual([
        'client_secret_basic true',
        'client_secret_basic_interop true',
        'client_secret_post true',
      ])
    },
  )

  test.skipIf(!hasPackage('openid-client'))(
    'openid-client 5 obtains tokens with both discovery documents and both authentication methods, and introspects them',
    async () => {
      expect((await program('openid-client-5')).trim().split('\n')).toEqual([
        'openid-configuration client_secret_basic true',
        'openid-configuration client_secret_post true',
        'oauth-authorization-server client_secret_basic true',
        'oauth-authorization-server client_secret_post true',
      ])
    },
  )

  test.skipIf(!hasPackage('express-openapi-validator'))(
    'express-openapi-validator loads the OpenAPI document, and finds no invalid request or response',
    async () => {
      expect((await program('express-openapi-validator')).trim().split('\n')).toEqual([
        'POST /connect/applications 201',
        'GET /connect/applications?limit=1 200',
        'PUT /connect/applications/{id} 200',
        'POST /connect/applications/{id}/client_secrets 201',
        'GET /connect/applications/{id}/client_secrets 200',
        'PATCH /connect/client_secrets/{id} 200',
        'GET /connect/client_secrets/{id} 200',
        'DELETE /connect/client_secrets/{id} 204',
        'GET /connect/applications/{id} 404',
        'GET /events 200',
        'POST /oauth2/token 200',
        'POST /oauth2/token 200',
        'POST /oauth2/introspection 200',
        'GET /oauth2/jwks 200',
        'GET /.well-known/openid-configuration 200',
      ])
    },
  )

  test.skipIf(!hasDebianPackage('python3-authlib'))('Authlib finds the server metadata valid', async () => {
    const document = await publishedDocument('oauth-authorization-server')
    expect(await run('/usr/bin/python3', ['metadata.py'], { input: document })).toBe('')
  })

  describe.skipIf(!hasDebianPackage('ruby-openid-connect'))('the gem openid_connect', () => {
    test('the gem openid_connect reports only the missing authorization endpoint as an error of the discovery document', async () => {
      const input = await publishedDocument('openid-configuration')
      const output = await run('/usr/bin/ruby', ['discovery.rb'], { input })
      expect(output.trim()).toBe("Authorization endpoint can't be blank")
    })

    test('the gem openid_connect obtains a token, and verifies the token with the published keys', async () => {
      const output = await run('/usr/bin/ruby', ['token-request.rb', issuer, clientId, secret])
      expect(JSON.parse(output)).toMatchObject({ iss: issuer, client_id: clientId })
    })
  })
})

/** A checkout of WorkOS's Python SDK, whose own tests are in no package. */
const { WORKOS_PYTHON } = process.env
const hasPytest = hasDebianPackage('python3-pytest-asyncio') && hasDebianPackage('python3-jwt')

test.skipIf(!WORKOS_PYTHON || !hasPytest)(
  'the Connect tests of WorkOS’s Python SDK pass with the responses of Oncekey',
  async () => {
    const sdk = `${WORKOS_PYTHON}`
    const paths = { PYTHONPATH: [join(sdk, 'src'), sdk, folder].join(':'), PYTHONDONTWRITEBYTECODE: '1' }
    const env = { ...process.env, ...paths, ONCEKEY_URL: issuer, ONCEKEY_API_KEY: apiKey }
    const options = ['-p', 'live_connect', '-p', 'no:cacheprovider', '--rootdir', sdk]
    const output = await run(
      '/usr/bin/python3',
      ['-m', 'pytest', '-q', ...options, join(sdk, 'tests/test_connect.py')],
      { env },
    )
    expect(output).toContain('40 passed')
    expect(output).toContain('20 requests were answered by the server')
  },
  // Forty tests in one process.
  180_000,
)

describe.skipIf(!hasDebianPackage('dovecot-core'))('Dovecot', () => {
  let dovecot: ChildProcess
  const home = join(folder, 'dovecot')
  const configuration = join(home, 'dovecot.conf')
  const login = (token: string) => run('doveadm', ['-c', configuration, 'auth', 'test', clientId, token])

  beforeAll(async () => {
    await mkdir(home)
    const endpoint = new URL('/oauth2/introspection', issuer)
    Object.assign(endpoint, { username: clientId, password: secret })
    await writeFile(
      join(home, 'oauth2.conf'),
      `introspection_mode = post
introspection_url = ${endpoint}
username_attribute = client_id
active_attribute = active
active_value = true
`,
    )
    await writeFile(
      configuration,
      `base_dir = ${home}/run
state_dir = ${home}/run
log_path = ${home}/log
protocols =
default_internal_user = root
default_internal_group = root
default_login_user = nobody
ssl = no
passdb {
  driver = oauth2
  mechanisms = plain
  args = ${home}/oauth2.conf
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=${home}
}
`,
    )
    dovecot = spawn('dovecot', ['-F', '-c', configuration], { stdio: 'ignore' })
    await vi.waitFor(() => expect(existsSync(join(home, 'run/auth-client'))).toBe(true), { timeout: 20_000 })
  })
  afterAll(() => dovecot.kill())

  test('a Dovecot login with an access token succeeds, by introspection with the client’s credentials in the URL', async () => {
    expect(await login(await newToken())).toContain('auth succeeded')
  })

  test('a Dovecot login with a changed access token fails', async () => {
    expect(await login(`${await newToken()}x`)).toContain('auth failed')
  })
})

describe.skipIf(!hasDebianPackage('libapache2-mod-auth-openidc'))('mod_auth_openidc', async () => {
  const home = join(folder, 'apache')
  const origin = `http://127.0.0.1:${await freePort()}`
  let apache: ChildProcess

  beforeAll(async () => {
    await mkdir(join(home, 'www'), { recursive: true })
    await writeFile(join(home, 'www/index.html'), 'protected')
    const modules = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'auth_openidc', 'dir']
    const load = modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`)
    await writeFile(
      join(home, 'httpd.conf'),
      `${load.join('\n')}
ServerRoot ${home}
PidFile ${home}/pid
Listen ${new URL(origin).host}
ServerName localhost
ErrorLog ${home}/log
Mutex file:${home} default
User www-data
Group www-data
DocumentRoot ${home}/www
OIDCProviderMetadataURL ${issuer}/.well-known/openid-configuration
OIDCClientID ${clientId}
OIDCRedirectURI ${origin}/callback
OIDCCryptoPassphrase 0123456789abcdef0123456789abcdef
OIDCOAuthServerMetadataURL ${issuer}/.well-known/oauth-authorization-server
OIDCOAuthClientID ${clientId}
OIDCOAuthClientSecret ${secret}
OIDCOAuthRemoteUserClaim client_id
OIDCCacheType file
OIDCCacheDir ${home}
<Location />
  AuthType auth-openidc
  Require valid-user
</Location>
`,
    )
    await chown(home, 33, 33)
    apache = spawn('apache2', ['-f', join(home, 'httpd.conf'), '-DFOREGROUND'], { stdio: 'ignore' })
    await vi.waitFor(() => fetch(origin, { headers: { Authorization: 'Bearer x' } }), { timeout: 20_000 })
  })
  afterAll(() => apache.kill())

  const read = async (token: string) => {
    const response = await fetch(`${origin}/index.html`, { headers: { Authorization: `Bearer ${token}` } })
    return [response.status, response.headers.get('WWW-Authenticate')]
  }

  test('an access token gives access to a protected page', async () => {
    expect(await read(await newToken()), await readFile(join(home, 'log'), 'utf8')).toEqual([200, null])
  })

  test('a changed access token gives no access to a protected page', async () => {
    expect(await read(`${await newToken()}x`)).toEqual([401, expect.stringContaining('invalid_token')])
  })
})
