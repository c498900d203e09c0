import { HOSTNAME } from '../../origin.ts'
import { literal, type Syntax, template } from './literals.ts'
import { partsOf, type SampleRequest } from './request.ts'
import { SDK_CALLS } from './sdk-calls.ts'

const quoted = (text: string) => `'${text.replace(/['\\]/g, '\\$&')}'`

const variable = (name: string) => `process.env.${name}`

const javascript: Syntax = {
  string: (parts) => {
    const [only, ...others] = parts
    if (only && 'variable' in only && others.length === 0) return variable(only.variable)
    return template(
      parts,
      quoted,
      ['`', '`'],
      (text) => text.replace(/[`\\$]/g, '\\$&'),
      (name) => `\${${variable(name)}}`,
    )
  },
  key: (name) => `${/^\w+$/.test(name) ? name : quoted(name)}: `,
  object: ['{', '}'],
  space: ' ',
}

/** A JavaScript module that makes the request. It uses the SDK if the SDK has the call, and fetch otherwise. */
export function node(request: SampleRequest, operationId: string): string {
  const call = SDK_CALLS[operationId]?.javascript
  if (!call) return fetchSample(request)
  return `import { WorkOS } from '@workos-inc/node'

const workos = new WorkOS(process.env.API_KEY, { apiHostname: '${HOSTNAME}' })

${request.hasResponseBody ? `const result = await workos.${call}\nconsole.log(result)` : `await workos.${call}`}
`
}

function fetchSample({ method, url, authentication, json, form, hasResponseBody }: SampleRequest): string {
  const headers = [
    ...(authentication === 'api_key' ? [`Authorization: \`Bearer \${process.env.API_KEY}\``] : []),
    ...(authentication === 'client' ? [`Authorization: 'Basic ' + btoa(\`\${CLIENT_ID}:\${CLIENT_SECRET}\`)`] : []),
    ...(json === undefined ? [] : [`'Content-Type': 'application/json'`]),
  ]
  const options = [
    ...(method === 'GET' ? [] : [`method: '${method}'`]),
    ...(headers.length > 1 ? [`headers: {\n    ${headers.join(',\n    ')},\n  }`] : []),
    ...(headers.length === 1 ? [`headers: { ${headers} }`] : []),
    ...(json === undefined ? [] : [`body: JSON.stringify(${literal(javascript, json, '  ')})`]),
    ...(form ? [`body: new URLSearchParams(${literal(javascript, form, '  ')})`] : []),
  ]
  const target = javascript.string(partsOf(url))
  const argument = options.length === 0 ? '' : `, {\n${options.map((option) => `  ${option},\n`).join('')}}`
  return `${authentication === 'client' ? 'const { CLIENT_ID, CLIENT_SECRET } = process.env\n' : ''}const response = await fetch(${target}${argument})
console.log(response.status${hasResponseBody ? ', await response.json()' : ''})
`
}
