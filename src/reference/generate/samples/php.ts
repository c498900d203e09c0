import { concatenated, literal, type Syntax } from './literals.ts'
import { partsOf, type SampleRequest } from './request.ts'

const quoted = (text: string) => `'${text.replace(/['\\]/g, '\\$&')}'`
const variable = (name: string) => `getenv('${name}')`

const php8: Syntax = {
  string: (parts) => concatenated(parts, quoted, variable, ' . '),
  key: (name) => `${quoted(name)} => `,
  object: ['[', ']'],
  indent: '    ',
}

/** A program that needs PHP's curl extension only. */
export function php({ method, url, authentication, json, form, hasResponseBody }: SampleRequest): string {
  const headers = [
    ...(authentication === 'api_key' ? [`'Authorization: Bearer ' . getenv('API_KEY')`] : []),
    ...(json === undefined ? [] : [`'Content-Type: application/json'`]),
  ]
  const isPost = method === 'POST' && (json !== undefined || form !== undefined)
  const options = [
    ...(method === 'GET' || isPost ? [] : [`CURLOPT_CUSTOMREQUEST => '${method}'`]),
    ...(headers.length > 1
      ? [
          `CURLOPT_HTTPHEADER => [
${headers
  .map(
    (header) => `        ${header},
`,
  )
  .join('')}    ]`,
        ]
      : []),
    ...(headers.length === 1 ? [`CURLOPT_HTTPHEADER => [${headers}]`] : []),
    ...(authentication === 'client' ? [`CURLOPT_USERPWD => getenv('CLIENT_ID') . ':' . getenv('CLIENT_SECRET')`] : []),
    ...(json === undefined ? [] : [`CURLOPT_POSTFIELDS => json_encode(${literal(php8, json, '    ')})`]),
    ...(form ? [`CURLOPT_POSTFIELDS => http_build_query(${literal(php8, form, '    ')})`] : []),
    'CURLOPT_RETURNTRANSFER => true',
  ]
  return `<?php
$curl = curl_init(${php8.string(partsOf(url))});
curl_setopt_array($curl, [
${options.map((option) => `    ${option},\n`).join('')}]);
$body = curl_exec($curl);
echo curl_getinfo($curl, CURLINFO_RESPONSE_CODE)${hasResponseBody ? `, "\\n", $body` : ''}, "\\n";
`
}
