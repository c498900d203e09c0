import { curl } from './curl.ts'
import { go } from './go.ts'
import { node } from './node.ts'
import { php } from './php.ts'
import { python } from './python.ts'
import type { SampleRequest } from './request.ts'
import { ruby } from './ruby.ts'
import { SDK_CALLS } from './sdk-calls.ts'

export interface Language {
  /** The ID of the language, also for the highlighter. */
  readonly id: 'bash' | 'javascript' | 'python' | 'ruby' | 'go' | 'php'
  readonly name: string
  readonly sample: (request: SampleRequest, operationId: string) => string
}

/** The languages in the order of the tabs. */
export const LANGUAGES: readonly Language[] = [
  { id: 'bash', name: 'curl', sample: curl },
  { id: 'javascript', name: 'Node', sample: node },
  { id: 'python', name: 'Python', sample: python },
  { id: 'ruby', name: 'Ruby', sample: ruby },
  { id: 'go', name: 'Go', sample: go },
  { id: 'php', name: 'PHP', sample: php },
]

/** The call of WorkOS's SDK that makes the same request, if the sample of the language does not use the SDK. */
export function sdkCall(operationId: string, language: Language): string | undefined {
  const calls = SDK_CALLS[operationId]
  return language.id === 'bash' || language.id === 'javascript' ? undefined : calls?.[language.id]
}
