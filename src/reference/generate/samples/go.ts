import { concatenated } from './literals.ts'
import { jsonText, type Part, partsOf, type SampleRequest } from './request.ts'

const variable = (name: string) => `os.Getenv("${name}")`
const backquoted = (text: string) => `\`${text}\``
/** Follows gofmt: spaces around the operator if the text is the only argument. */
const text = (parts: readonly Part[], quote: (text: string) => string, operator: '+' | ' + ') =>
  concatenated(parts, quote, variable, operator)

/** A program that needs the standard library only. */
export function go({ method, url, authentication, json, form, hasResponseBody }: SampleRequest): string {
  const hasBody = json !== undefined || form !== undefined
  const packages = [
    ...(hasResponseBody ? ['io'] : []),
    'fmt',
    'net/http',
    ...(form ? ['net/url'] : []),
    ...(authentication || hasResponseBody || partsOf(url).length > 1 ? ['os'] : []),
    ...(hasBody ? ['strings'] : []),
  ].sort()
  const type = json === undefined ? 'application/x-www-form-urlencoded' : 'application/json'
  const lines = [
    ...(json === undefined
      ? []
      : [`body := strings.NewReader(${text(partsOf(jsonText(json, '\t')), backquoted, ' + ')})`]),
    ...(form ? [`form := url.Values{${fields(form)}}`, 'body := strings.NewReader(form.Encode())'] : []),
    `request, err := http.NewRequest("${method}", ${text(partsOf(url), JSON.stringify, '+')}, ${hasBody ? 'body' : 'nil'})`,
    'if err != nil {',
    '\tpanic(err)',
    '}',
    ...(authentication === 'api_key' ? ['request.Header.Set("Authorization", "Bearer "+os.Getenv("API_KEY"))'] : []),
    ...(authentication === 'client'
      ? ['request.SetBasicAuth(os.Getenv("CLIENT_ID"), os.Getenv("CLIENT_SECRET"))']
      : []),
    ...(hasBody ? [`request.Header.Set("Content-Type", "${type}")`] : []),
    'response, err := http.DefaultClient.Do(request)',
    'if err != nil {',
    '\tpanic(err)',
    '}',
    'defer response.Body.Close()',
    'fmt.Println(response.Status)',
    ...(hasResponseBody ? ['io.Copy(os.Stdout, response.Body)'] : []),
  ]
  return `package main

import (
${packages.map((name) => `\t"${name}"\n`).join('')})

func main() {
${lines.map((line) => `\t${line}\n`).join('')}}
`
}

function fields(form: Readonly<Record<string, string>>): string {
  const all = Object.entries(form).map(([name, value]) => `"${name}": {${text(partsOf(value), JSON.stringify, ' + ')}}`)
  return all.join(', ')
}
