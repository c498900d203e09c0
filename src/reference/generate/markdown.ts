import { ORIGIN } from '../origin.ts'
import { type Call, callerOf, errorNames, parameterParts, successOf } from './call.ts'
import { pretty } from './code.ts'
import type { DescribedError } from './errors.ts'
import type { Guide } from './guides.ts'
import { type JsonSchema, nameOf, type OpenApi, type Parameter, resolved } from './openapi.ts'
import { APPENDIX, type Group, groupsOf } from './page.ts'
import { remedyOf } from './remedies.ts'
import { LANGUAGES } from './samples/languages.ts'
import { exampleOf, sampleRequest } from './samples/request.ts'
import {
  baseOf,
  type Direction,
  type Member,
  memberGroups,
  objectNames,
  parameterMember,
  shortened,
  typeOf,
} from './shape.ts'

/** Makes the Markdown edition of the page: the same guides, calls and objects, with samples for curl and Node. */
export function makeMarkdown(document: OpenApi, errors: readonly DescribedError[], guides: readonly Guide[]): string {
  const { groups, appendix } = groupsOf(document)
  return [
    '# Oncekey API reference',
    `> ${document.info.description}`,
    `Version ${document.info.version}. Base URL: ${ORIGIN}. OpenAPI: ${ORIGIN}/openapi.json. As a page: ${ORIGIN}/docs.`,
    ...guides.flatMap(({ id, title, markdown }) => [
      `## ${title}`,
      markdown.replace(/^## /gm, '### '),
      ...(id === 'errors' ? [errorTable(errors)] : []),
      ...(id === 'authentication' ? [headers(document)] : []),
    ]),
    ...groups.flatMap((group) => [
      `## ${group.name}`,
      group.description,
      ...group.calls.map((one) => call(document, errors, one)),
    ]),
    '## Objects',
    ...objectNames(document).map((name) =>
      object(name, shortened(document, document.components.schemas[name] ?? {}, name)),
    ),
    ...appendix.flatMap(appendixSection),
    '',
  ].join('\n\n')
}

/** Makes `/llms.txt` (llmstxt.org): an index of the documentation, with a line about each part. */
export function makeIndex(document: OpenApi, guides: readonly Guide[]): string {
  const { groups } = groupsOf(document)
  const link = (title: string, path: string, about: string) => `- [${title}](${ORIGIN}${path})${about && `: ${about}`}`
  return [
    '# Oncekey',
    `> ${document.info.description}`,
    [
      '## Documentation',
      '',
      link('API reference as Markdown', '/docs.md', 'guides, calls, objects and errors in one file'),
      link('API reference', '/docs', 'the same as a page, with samples in six languages'),
      link('OpenAPI document', '/openapi.json', 'OpenAPI 3.1, with webhooks'),
      link('Authorization server metadata', '/.well-known/oauth-authorization-server', 'RFC 8414'),
    ].join('\n'),
    ['## Guides', '', ...guides.map(({ id, title }) => link(title, `/docs#${id}`, ''))].join('\n'),
    ...groups.map(({ name, calls }) =>
      [
        `## ${name}`,
        '',
        ...calls.map(({ method, path, operation }) =>
          link(operation.summary, `/docs#${operation.operationId}`, `\`${method} ${path}\``),
        ),
      ].join('\n'),
    ),
    '',
  ].join('\n\n')
}

function call(document: OpenApi, errors: readonly DescribedError[], { method, path, operation }: Call): string {
  const { summary, description, operationId } = operation
  const request = sampleRequest(document, method, path, operation)
  const { status, schema, description: result } = successOf(document, operation)
  const example = schema && exampleOf(document, schema)
  const isObject = objectNames(document).includes(nameOf(schema ?? {}))
  return [
    `### ${summary}`,
    `\`${method} ${path}\``,
    description,
    callerOf(operation),
    ...parameterParts(document, operation).flatMap(({ title, parameters, schema }) => [
      `**${title}**`,
      parameters ? memberTable(parameters.map(parameterMember)) : members(schema, 'request'),
    ]),
    ...LANGUAGES.slice(0, 2).map(({ id, sample }) => fenced(id, sample(request, operationId))),
    `**Returns** ${status}: ${result}${isObject ? ` See ${typeOf(schema ?? {})}.` : ''}`,
    ...(schema && !isObject ? [members(shortened(document, resolved(document, schema)), 'response')] : []),
    ...(example === undefined ? [] : [fenced('json', pretty(example))]),
    ...refusals(errors, operation),
  ].join('\n\n')
}

function refusals(errors: readonly DescribedError[], operation: Call['operation']): string[] {
  const named = Object.values(operation.responses).flatMap(errorNames)
  const codes = errors.filter(({ name }) => named.includes(name)).map(({ status, code }) => `${status} \`${code}\``)
  return codes.length === 0 ? [] : [`**Errors**: ${[...new Set(codes)].join(', ')}.`]
}

function object(name: string, schema: JsonSchema): string {
  const examples = (schema.examples ?? []).map((example) => fenced('json', pretty(example)))
  return [`### ${name}`, members(schema, 'response'), ...examples].join('\n\n')
}

function members(schema: JsonSchema, direction: Direction): string {
  const item = schema.items?.properties || schema.items?.oneOf ? schema.items : undefined
  if (item) return `Each item:\n\n${members(item, direction)}`
  if (!schema.properties && !schema.oneOf) return typeOf(schema)
  const groups = memberGroups(schema, direction).map((group) => [
    group.title,
    memberTable(flattened(group.members, direction)),
  ])
  return [baseOf(schema), ...groups.flat()].filter(Boolean).join('\n\n')
}

/** Lists nested members after their parent, with their path as name. */
function flattened(members: readonly Member[], direction: Direction, path = ''): Member[] {
  return members.flatMap((member) => {
    const name = path + member.name
    const below = member.nested.flatMap((one) =>
      memberGroups(one, direction).flatMap((group) =>
        flattened(group.members, direction, `${name}${member.isArray ? '[]' : ''}.`),
      ),
    )
    return [{ ...member, name }, ...below]
  })
}

function memberTable(members: readonly Member[]): string {
  if (members.length === 0) return ''
  return table(
    ['member', 'type', '', 'meaning'],
    members.map(({ name, type, presence, description }) => [`\`${name}\``, type, presence, description]),
  )
}

function errorTable(errors: readonly DescribedError[]): string {
  return table(
    ['status', 'code', 'message', 'what to do'],
    errors.map((error) => [
      `${error.status}`,
      `\`${error.code}\`${error.name.startsWith('oauth_') ? ' (OAuth)' : ''}`,
      error.body.message ?? error.body.error_description ?? '',
      remedyOf(error),
    ]),
  )
}

function headers({ components }: OpenApi): string {
  const inHeader = (parameter: Parameter) => parameter.in === 'header'
  return [
    '### Request headers',
    memberTable(Object.values(components.parameters).filter(inHeader).map(parameterMember)),
    '### Response headers',
    table(
      ['header', 'meaning'],
      Object.entries(components.headers).map(([name, { description = '' }]) => [`\`${name}\``, description]),
    ),
  ].join('\n\n')
}

function appendixSection({ calls }: Group): string[] {
  const rows = calls.map(({ method, path, operation }) => [`\`${method} ${path}\``, operation.description])
  return [`## Appendix: ${APPENDIX}`, table(['call', 'returns'], rows)]
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(columns), `|${columns.map(() => '---|').join('')}`, ...rows.map(line)].join('\n')
}

function fenced(language: string, code: string): string {
  return `\`\`\`${language}\n${code.trimEnd()}\n\`\`\``
}
