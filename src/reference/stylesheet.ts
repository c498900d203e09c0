/** What the reference has besides the stylesheet of every page. */
export const stylesheet = `
html { scroll-padding-top: 1rem }
.lead { font-size: 1.0625rem; color: var(--quiet); max-width: 40rem }
.ways { list-style: none; padding: 0; border-top: 1px solid var(--line) }
.ways li { padding: .875rem 0; border-bottom: 1px solid var(--line) }
main:has(.reference) { max-width: 84rem }
.top:has(+ main .reference) > div { max-width: 84rem }
.reference { display: grid; gap: 2rem; grid-template-columns: minmax(0, 1fr) }
.reference > header { display: grid; gap: 1rem }
.contents { font-size: var(--small) }
.contents h2 { font-size: var(--small); margin-top: 1rem }
.contents ul { list-style: none; padding: 0; columns: 9.5rem; column-gap: 1.5rem }
.contents li { break-inside: avoid }
.contents a { display: block; padding: .25rem 0; text-decoration: none }
.contents ul a { color: var(--quiet) }
.contents a:hover { color: var(--ink); text-decoration: underline }
.calls, .calls > section { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr) }
.calls > section { padding-top: 2.5rem; border-top: 1px solid var(--line) }
.calls h2 { font-size: 1.375rem; letter-spacing: -.015em }
.calls h3 { font-size: 1.0625rem }
.calls h3 a { text-decoration: none }
.calls h3 a:hover { text-decoration: underline }
.calls h4 { margin: .75rem 0 0; font-size: var(--small); font-weight: 600 }
article { display: grid; gap: 1rem 2.5rem; grid-template-columns: minmax(0, 1fr); padding: 1.75rem 0 }
article + article { border-top: 1px solid var(--line) }
.about, .example { display: grid; gap: .5rem; grid-template-columns: minmax(0, 1fr); align-content: start }
.route { font-family: var(--code); font-size: .875rem }
.route b { color: var(--brass) }
.members { border-top: 1px solid var(--line) }
.members > div { padding: .5rem 0; border-bottom: 1px solid var(--line) }
.members dt span { color: var(--quiet); font-size: var(--small) }
.members dt b { color: var(--ink); font-weight: 600 }
.members dd { margin: 0; color: var(--quiet); font-size: var(--small); max-width: 42rem }
.members .members { margin: .5rem 0 0 1rem }
.members .members > div:last-child { border: 0; padding-bottom: 0 }
.kind { margin-top: .5rem }
.refusals { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .125rem 1rem; font-size: var(--small) }
.refusals a { display: inline-block; padding: .125rem 0; color: var(--quiet); text-decoration: none; font-variant-numeric: tabular-nums }
.refusals a:hover { color: var(--ink); text-decoration: underline }
.reference pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: var(--small) }
.reference pre code { font-size: inherit }
.errors > div { display: grid; gap: .375rem 2rem; padding: 1rem 0; border-bottom: 1px solid var(--line) }
.errors dt { font: 500 var(--small)/1.6 var(--code) }
.errors dt span { font-family: var(--text); color: var(--quiet) }
.errors dd { margin: 0; display: grid; gap: .375rem }
:target { scroll-margin-top: 1rem }
.calls :target h3, .errors :target dt { color: var(--brass) }
@media (min-width: 60rem) {
  .reference { grid-template-columns: 13.5rem minmax(0, 1fr); gap: 2rem 3.5rem }
  .reference > header, .calls { grid-column: 2 }
  .contents { grid-area: 1 / 1 / span 2; position: sticky; top: 1.5rem; max-height: calc(100vh - 3rem); overflow-y: auto; align-self: start }
  .contents ul { columns: auto }
  .errors > div { grid-template-columns: 16rem minmax(0, 1fr) }
}
@media (min-width: 75rem) {
  article:has(.example) { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr) }
  .example { position: sticky; top: 1.5rem; align-self: start }
}
`
