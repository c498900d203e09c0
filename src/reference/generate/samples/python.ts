import { literal, type Syntax, template } from './literals.ts'
import { partsOf, type SampleRequest } from './request.ts'

const variable = (name: string) => `os.environ["${name}"]`

const python3: Syntax = {
  string: (parts) => {
    const [only, ...others] = parts
    if (only && 'variable' in only && others.length === 0) return variable(only.variable)
    const single = (name: string) => `{os.environ['${name}']}`
    return template(
      parts,
      JSON.stringify,
      ['f"', '"'],
      (text) => text.replace(/["\\]/g, '\\$&').replace(/[{}]/g, '$&$&'),
      single,
    )
  },
  key: (name) => `"${name}": `,
  object: ['{', '}'],
  words: { null: 'None', true: 'True', false: 'False' },
  indent: '    ',
}

const MODULES = ['base64', 'json', 'os', 'urllib.parse', 'urllib.request']

/** A program that needs the standard library only. */
export function python({ method, url, authentication, json, form, hasResponseBody }: SampleRequest): string {
  const headers = [
    ...(authentication === 'api_key' ? [`"Authorization": f"Bearer {os.environ['API_KEY']}"`] : []),
    ...(authentication === 'client' ? ['"Authorization": "Basic " + base64.b64encode(client.encode()).decode()'] : []),
    ...(json === undefined ? [] : ['"Content-Type": "application/json"']),
  ]
  const options = [
    python3.string(partsOf(url)),
    ...(method === 'GET' ? [] : [`method="${method}"`]),
    ...(headers.length > 1 ? [`headers={\n${headers.map((header) => `        ${header},\n`).join('')}    }`] : []),
    ...(headers.length === 1 ? [`headers={${headers}}`] : []),
    ...(json === undefined ? [] : [`data=json.dumps(${literal(python3, json, '    ')}).encode()`]),
    ...(form ? [`data=urllib.parse.urlencode(${literal(python3, form, '    ')}).encode()`] : []),
  ]
  const program = `${authentication === 'client' ? `client = f"{os.environ['CLIENT_ID']}:{os.environ['CLIENT_SECRET']}"\n` : ''}request = urllib.request.Request(
${options.map((option) => `    ${option},\n`).join('')})
with urllib.request.urlopen(request) as response:
    print(response.status${hasResponseBody ? ', response.read().decode()' : ''})
`
  return `import ${MODULES.filter((name) => new RegExp(`\\b${name}\\.\\w+[[(]`).test(program)).join(', ')}\n\n${program}`
}
