/**
 * A list in a query, however the SDKs write it: comma-separated, repeated, or with brackets behind its name. Undefined
 * when it is absent.
 */
export function listParameter(query: Record<string, string | string[]>, name: string): string[] | undefined {
  const isOfName = (parameter: string) => parameter.replace(/\[\d*\]$/, '') === name
  const values = Object.entries(query).flatMap(([parameter, value]) => (isOfName(parameter) ? value : []))
  return values.length === 0 ? undefined : values.flatMap((list) => list.split(','))
}
