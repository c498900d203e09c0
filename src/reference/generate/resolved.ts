import type { OpenApi } from './openapi.ts'

/** What a reference leads to; anything else, as it is. */
export function resolved<T>(document: OpenApi, value: T | { readonly $ref?: string }): T {
  const { $ref } = value as { $ref?: string }
  if ($ref === undefined) return value as T
  const steps = $ref.replace('#/', '').split('/')
  return steps.reduce((found, step) => (found as Record<string, unknown>)[step], document as unknown) as T
}

export function nameOf({ $ref = '' }: { readonly $ref?: string }): string {
  return $ref.split('/').at(-1) ?? ''
}
