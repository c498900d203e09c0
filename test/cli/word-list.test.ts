import { describe, expect, test } from 'vitest'
import { phrasesIn } from '../word-list.ts'

describe('the word list', () => {
  test.each([
    ['whoever', 'Tell whoever runs this.'],
    ['for good', 'The type is for good.'],
    ['as they must', 'Some parameters are not as they must be.'],
    ['keepHouse', 'await keepHouse(database)'],
    ['is told', 'the caller is told why'],
    ['What', '/** What is stored. */'],
    ['What', 'code()\n  // What is stored.'],
    ['what', "test('what is stored', () => {})"],
    ['what', 'test.each([1, 2])(\n  `what is stored: %i`, () => {})'],
  ])('the word list finds “%s” in: %s', (phrase, text) => {
    expect(phrasesIn(text).map((found) => found.phrase)).toEqual([phrase])
  })

  test('the word list reports the line of a phrase', () => {
    expect(phrasesIn('one\ntwo\nnobody knows')).toMatchObject([{ line: 3, phrase: 'nobody' }])
  })

  test('the word list accepts plain sentences', () => {
    const text = "/** The digest of a secret. */\ntest('a revoked secret is refused', () => {}) // What for? Issue 7."
    expect(phrasesIn(text)).toEqual([])
  })
})
