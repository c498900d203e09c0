import type { Application } from '../storage/applications.ts'

/** A program that uses a new secret. */
export interface Example {
  readonly id: string
  readonly language: string
  readonly text: string
}

/**
 * Programs that get a token with a new secret, or check one. They read the secret from the environment, which keeps
 * it out of source code and of the shell's history.
 */
export function examplesOf({ applicationType, scopes }: Application, origin: string): Example[] {
  const scope = scopes.join(' ')
  const isM2m = applicationType === 'm2m'
  return [
    { id: 'curl', language: 'curl', text: isM2m ? curlToken(scope) : CURL_CHECK },
    { id: 'node', language: 'Node', text: isM2m ? nodeToken(origin, scope) : nodeCheck(origin) },
    { id: 'python', language: 'Python', text: isM2m ? pythonToken(scope) : PYTHON_CHECK },
    { id: 'go', language: 'Go', text: isM2m ? goToken(scope) : GO_CHECK },
  ]
}

const lines = (...text: string[]) => text.join('\n')

function curlToken(scope: string): string {
  const quoted = scope.replaceAll("'", "'\\''")
  return lines(
    'set -a; . ./.env',
    'curl "$ONCEKEY_URL/oauth2/token" \\',
    '  -u "$ONCEKEY_CLIENT_ID:$ONCEKEY_CLIENT_SECRET" \\',
    `  -d grant_type=client_credentials${scope && ` \\\n  --data-urlencode 'scope=${quoted}'`}`,
  )
}

const CURL_CHECK = lines(
  'set -a; . ./.env',
  'curl "$ONCEKEY_URL/oauth2/introspection" \\',
  '  -u "$ONCEKEY_CLIENT_ID:$ONCEKEY_CLIENT_SECRET" \\',
  '  -d token="$TOKEN"',
)

/** openid-client refuses http, which `npm run dev` serves, unless an option allows it. */
function discovery(origin: string): string {
  const isHttp = origin.startsWith('http://')
  return lines(
    "import * as client from 'openid-client'",
    '',
    'const { ONCEKEY_URL, ONCEKEY_CLIENT_ID,',
    '  ONCEKEY_CLIENT_SECRET } = process.env',
    'const config = await client.discovery(',
    '  new URL(ONCEKEY_URL),',
    '  ONCEKEY_CLIENT_ID,',
    `  ONCEKEY_CLIENT_SECRET,${isHttp ? '\n  undefined,\n  { execute: [client.allowInsecureRequests] },' : ''}`,
    ')',
  )
}

function nodeToken(origin: string, scope: string): string {
  const options = scope && `, {\n  scope: ${JSON.stringify(scope)},\n}`
  return lines(
    discovery(origin),
    `const { access_token } = await client.clientCredentialsGrant(${scope ? 'config' : '\n  config,\n'}${options})`,
  )
}

function nodeCheck(origin: string): string {
  return lines(discovery(origin), 'const { active } = await client.tokenIntrospection(config, token)')
}

function python(path: string, data: string): string[] {
  return [
    'import os, requests',
    '',
    'response = requests.post(',
    `    os.environ["ONCEKEY_URL"] + "${path}",`,
    '    auth=(os.environ["ONCEKEY_CLIENT_ID"],',
    '          os.environ["ONCEKEY_CLIENT_SECRET"]),',
    `    data={${data}},`,
    ')',
    'response.raise_for_status()',
  ]
}

function pythonToken(scope: string): string {
  const more = scope && `,\n          "scope": ${JSON.stringify(scope)}`
  return lines(
    ...python('/oauth2/token', `"grant_type": "client_credentials"${more}`),
    'access_token = response.json()["access_token"]',
  )
}

const PYTHON_CHECK = lines(...python('/oauth2/introspection', '"token": token'), 'active = response.json()["active"]')

function go(path: string, values: string[], read: string[]): string {
  return lines(
    'form := url.Values{',
    ...values.map((value) => `\t${value},`),
    '}',
    'request, err := http.NewRequest("POST",',
    `\tos.Getenv("ONCEKEY_URL")+"${path}",`,
    '\tstrings.NewReader(form.Encode()))',
    'if err != nil {',
    '\treturn err',
    '}',
    'request.Header.Set("Content-Type",',
    '\t"application/x-www-form-urlencoded")',
    'request.SetBasicAuth(os.Getenv("ONCEKEY_CLIENT_ID"),',
    '\tos.Getenv("ONCEKEY_CLIENT_SECRET"))',
    'response, err := http.DefaultClient.Do(request)',
    ...read,
  )
}

function goToken(scope: string): string {
  const values = ['"grant_type": {"client_credentials"}', ...(scope ? [`"scope": {${JSON.stringify(scope)}}`] : [])]
  return go('/oauth2/token', values, ['// The body has access_token.'])
}

const GO_CHECK = go('/oauth2/introspection', ['"token": {token}'], ['// The body has active.'])
