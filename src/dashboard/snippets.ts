import type { Application } from '../storage/applications.ts'

/** A program that uses a new secret. */
export interface Example {
  readonly id: string
  readonly language: string
  readonly text: string
}

/** A parameter of the request: its name, and its value, which is a text or an environment variable. */
type Parameter = readonly [name: string, value: { readonly text: string } | { readonly variable: string }]

/**
 * Programs that use a new secret to get or to check an access token, and print the result. They read the secret from an
 * environment variable, which keeps the secret out of source code and the shell history.
 */
export function examplesOf({ applicationType, scopes }: Application, origin: string): Example[] {
  const scope = scopes.join(' ')
  const isM2m = applicationType === 'm2m'
  const path = isM2m ? '/oauth2/token' : '/oauth2/introspection'
  const parameters: Parameter[] = [
    isM2m ? ['grant_type', { text: 'client_credentials' }] : ['token', { variable: 'TOKEN' }],
    ['client_id', { variable: 'ONCEKEY_CLIENT_ID' }],
    ['client_secret', { variable: 'ONCEKEY_CLIENT_SECRET' }],
    ...(isM2m && scope ? [['scope', { text: scope }] as const] : []),
  ]
  return [
    { id: 'curl', language: 'curl', text: isM2m ? curlToken(scope) : CURL_CHECK },
    { id: 'node', language: 'Node', text: isM2m ? nodeToken(origin, scope) : nodeCheck(origin) },
    { id: 'python', language: 'Python', text: python(path, parameters) },
    { id: 'ruby', language: 'Ruby', text: ruby(path, parameters) },
    { id: 'go', language: 'Go', text: go(path, parameters) },
    { id: 'php', language: 'PHP', text: php(path, parameters) },
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
    'console.log(access_token)',
  )
}

function nodeCheck(origin: string): string {
  return lines(
    discovery(origin),
    'const { active } = await client.tokenIntrospection(',
    '  config,',
    '  process.env.TOKEN,',
    ')',
    'console.log(active)',
  )
}

/** Writes one line for each parameter. */
function write(
  parameters: readonly Parameter[],
  name: (name: string) => string,
  text: (text: string) => string,
  variable: (name: string) => string,
): string[] {
  return parameters.map(
    ([key, value]) => `${name(key)}${'text' in value ? text(value.text) : variable(value.variable)}`,
  )
}

/** A single-quoted literal, in which Ruby and PHP evaluate no expression. Scopes have no backslash. */
const quoted = (text: string) => `'${text.replaceAll("'", "\\'")}'`

function python(path: string, parameters: readonly Parameter[]): string {
  const data = write(
    parameters,
    (name) => `"${name}": `,
    JSON.stringify,
    (name) => `os.environ["${name}"]`,
  )
  return lines(
    'import os, urllib.parse, urllib.request',
    '',
    `url = os.environ["ONCEKEY_URL"] + "${path}"`,
    'data = urllib.parse.urlencode({',
    ...data.map((line) => `    ${line},`),
    '}).encode()',
    'with urllib.request.urlopen(url, data) as response:',
    '    print(response.read().decode())',
  )
}

function ruby(path: string, parameters: readonly Parameter[]): string {
  const data = write(
    parameters,
    (name) => `${name}: `,
    quoted,
    (name) => `ENV['${name}']`,
  )
  return lines(
    "require 'net/http'",
    '',
    'response = Net::HTTP.post_form(',
    `  URI(ENV['ONCEKEY_URL'] + '${path}'),`,
    ...data.map((line) => `  ${line},`),
    ')',
    'response.value # raises an error unless it is 200',
    'puts response.body',
  )
}

function go(path: string, parameters: readonly Parameter[]): string {
  const data = write(
    parameters,
    (name) => `"${name}": {`,
    JSON.stringify,
    (name) => `os.Getenv("${name}")`,
  )
  return lines(
    'package main',
    '',
    'import (',
    ...['fmt', 'io', 'net/http', 'net/url', 'os'].map((name) => `\t"${name}"`),
    ')',
    '',
    'func main() {',
    '\tresponse, err := http.PostForm(',
    `\t\tos.Getenv("ONCEKEY_URL")+"${path}",`,
    '\t\turl.Values{',
    ...data.map((line) => `\t\t\t${line}},`),
    '\t\t})',
    '\tif err != nil {',
    '\t\tpanic(err)',
    '\t}',
    '\tbody, _ := io.ReadAll(response.Body)',
    '\tfmt.Println(response.Status, string(body))',
    '}',
  )
}

function php(path: string, parameters: readonly Parameter[]): string {
  const data = write(
    parameters,
    (name) => `'${name}' => `,
    quoted,
    (name) => `getenv('${name}')`,
  )
  return lines(
    '<?php',
    `$curl = curl_init(getenv('ONCEKEY_URL') . '${path}');`,
    '$data = http_build_query([',
    ...data.map((line) => `    ${line},`),
    ']);',
    'curl_setopt($curl, CURLOPT_POSTFIELDS, $data);',
    'curl_setopt($curl, CURLOPT_FAILONERROR, true);',
    '// Prints the response.',
    'if (!curl_exec($curl)) {',
    '    throw new Exception(curl_error($curl));',
    '}',
  )
}
