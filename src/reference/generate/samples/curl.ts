import { jsonText, partsOf, type SampleRequest } from './request.ts'

/** A shell command that makes the request. */
export function curl({ method, url, authentication, json, form }: SampleRequest): string {
  const isPost = json !== undefined || form !== undefined
  const hasOwnMethod = method === 'GET' || (method === 'POST' && isPost)
  return [
    `curl ${hasOwnMethod ? '' : `-X ${method} `}${quoted(url)}`,
    ...(authentication === 'api_key' ? [`-H "Authorization: Bearer $API_KEY"`] : []),
    ...(authentication === 'client' ? [`-u "$CLIENT_ID:$CLIENT_SECRET"`] : []),
    ...(json === undefined ? [] : [`-H 'Content-Type: application/json'`, `-d ${quoted(jsonText(json, '  '))}`]),
    ...Object.entries(form ?? {}).map(([name, value]) => `-d ${quoted(`${name}=${value}`)}`),
  ].join(' \\\n  ')
}

/** Quotes a shell word. Only a text with variables is in double quotes, in which the shell expands them. */
function quoted(text: string): string {
  const parts = partsOf(text)
  if (parts.some((part) => 'variable' in part)) {
    const words = parts.map((part) => ('text' in part ? part.text.replace(/["\\`$]/g, '\\$&') : `$${part.variable}`))
    return `"${words.join('')}"`
  }
  return /^[\w:/.=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
