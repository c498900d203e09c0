import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

/**
 * Refuses phrases that readers have misunderstood: without an actor, or with two meanings. CONTRIBUTING.md has the rules,
 * this list the worst habits. Usage: `node test/word-list.ts [PATH…]`
 */
const PHRASES: readonly [phrase: RegExp, advice: string][] = [
  // Not the user of that name in a system's configuration.
  [
    /\b(whoever|(?<!_user = )nobody|anybody|somebody|who is (it|that))\b/gi,
    'name the actor: the caller, the client, the operator',
  ],
  [/\bfor good\b/gi, 'say that it can’t be undone or changed later'],
  [/\bas (it|they) must\b/gi, 'say which rule is broken'],
  [/\b(is|are|was|were|been|be) told\b/gi, 'say what the response contains'],
  [/\bno such (route|object)\b/gi, 'say that it was not found'],
  [/\b(by its end|ends so)\b/gi, 'say hint'],
  [/\bwhat there is\b/gi, 'name the thing'],
  [/\basks? nothing\b|\bnothing more will\b|\bmade its one\b/gi, 'say what it does'],
  [/\bof rest\b/gi, 'say inactivity'],
  [/\b(tak(e|es|en|ing)|took) (it |them |the secret )?back\b/gi, 'say keep, or undo'],
  [/\bswitch(es|ed)? (it )?(on|off)\b/gi, 'say enable or disable'],
  [/\btime did\b/gi, 'say system event'],
  [/\blets? (it |them )?in\b/gi, 'say authenticates, or accepts'],
  [/keepHouse|housekeeping|housework/gi, 'say cleanup'],
  [/\bgiven up\b/gi, 'say failed'],
  [/\b(lives?|stands?) on:/gi, 'name the place'],
  [/(?<=^\s*(\/\/|\/?\*\*?)\s+)What(ever)?\b/gm, 'begin a comment with its subject'],
  [/(?<=\b(test|describe|it)(\.\w+(\([^()]*\))?)*\(\s*['"`])(what|whatever|who)\b/gi, 'begin a title with its subject'],
]

export function phrasesIn(text: string): { line: number; phrase: string; advice: string }[] {
  return PHRASES.flatMap(([pattern, advice]) =>
    [...text.matchAll(pattern)].map(({ index, 0: phrase }) => ({
      line: text.slice(0, index).split('\n').length,
      phrase,
      advice,
    })),
  )
}

if (process.argv[1] === import.meta.filename) {
  const root = resolve(import.meta.dirname, '..')
  const paths = process.argv.length > 2 ? process.argv.slice(2) : ['.']
  // A released migration is never edited, not even its comments.
  const excluded = [
    ':!src/pages/assets/generated',
    ':!package-lock.json',
    ':!*word-list*',
    ':!*.png',
    ':!src/storage/migrations/0001_management.sql',
  ]
  const list = execFileSync('git', ['ls-files', '--', ...paths, ...excluded], { cwd: root, encoding: 'utf8' })
  for (const file of list.trim().split('\n')) {
    for (const { line, phrase, advice } of phrasesIn(readFileSync(resolve(root, file), 'utf8'))) {
      console.error(`${file}:${line}: “${phrase}”: ${advice}`)
      process.exitCode = 1
    }
  }
}
