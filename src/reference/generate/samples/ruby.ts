import { literal, type Syntax, template } from './literals.ts'
import { partsOf, type SampleRequest } from './request.ts'

const quoted = (text: string) => `"${text.replace(/["\\#]/g, '\\$&')}"`
const variable = (name: string) => `ENV["${name}"]`

const ruby3: Syntax = {
  string: (parts) => {
    const [only, ...others] = parts
    if (only && 'variable' in only && others.length === 0) return variable(only.variable)
    return template(
      parts,
      quoted,
      ['"', '"'],
      (text) => text.replace(/["\\#]/g, '\\$&'),
      (name) => `#{${variable(name)}}`,
    )
  },
  key: (name) => `${name}: `,
  object: ['{', '}'],
  space: ' ',
  words: { null: 'nil' },
}

/** A program that needs the standard library only. */
export function ruby({ method, url, authentication, json, form, hasResponseBody }: SampleRequest): string {
  const name = method.charAt(0) + method.slice(1).toLowerCase()
  return [
    ...(json === undefined ? [] : ['require "json"']),
    'require "net/http"',
    '',
    `uri = URI(${ruby3.string(partsOf(url))})`,
    `request = Net::HTTP::${name}.new(uri)`,
    ...(authentication === 'api_key' ? ['request["Authorization"] = "Bearer #{ENV["API_KEY"]}"'] : []),
    ...(authentication === 'client' ? ['request.basic_auth(ENV["CLIENT_ID"], ENV["CLIENT_SECRET"])'] : []),
    ...(json === undefined
      ? []
      : ['request["Content-Type"] = "application/json"', `request.body = ${literal(ruby3, json)}.to_json`]),
    ...(form ? [`request.set_form_data(${literal(ruby3, form)})`] : []),
    'response = Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https") do |http|',
    '  http.request(request)',
    'end',
    `puts response.code${hasResponseBody ? ', response.body' : ''}`,
    '',
  ].join('\n')
}
