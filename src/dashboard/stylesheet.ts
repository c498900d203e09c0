/**
 * The one stylesheet of every page: tokens, then elements, then the few parts that have a class. Text and lines keep
 * WCAG's contrasts in both schemes (4.5:1, and 3:1 for the edges of controls); nothing to be pressed is under 24 px.
 */
export const stylesheet = `
:root {
  color-scheme: light dark;
  --paper: light-dark(#fff, #141412);
  --raised: light-dark(#f7f6f3, #1d1d1a);
  --ink: light-dark(#1c1b17, #edebe4);
  --quiet: light-dark(#5f5c52, #a9a69a);
  --line: light-dark(#e3e0d8, #33322d);
  --edge: light-dark(#8b877a, #7d796d);
  --brass: light-dark(#855700, #e0b25a);
  --brass-wash: light-dark(#fbf3e2, #2a2416);
  --good: light-dark(#22663c, #84c99a);
  --bad: light-dark(#a8261b, #f2938a);
  --bad-wash: light-dark(#fcefed, #2e1a18);
  --text: system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', 'Noto Sans', sans-serif;
  --code: ui-monospace, 'SF Mono', 'Cascadia Mono', 'Roboto Mono', 'DejaVu Sans Mono', monospace;
  --small: .8125rem;
  --base: .9375rem;
  --large: 1.1875rem;
  --title: 1.75rem;
  --radius: 6px;
  --page: 70rem;
}
*, ::before, ::after { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; scrollbar-gutter: stable }
body { margin: 0; background: var(--paper); color: var(--ink); font: var(--base)/1.55 var(--text); overflow-wrap: break-word }
h1, h2, h3 { margin: 0; line-height: 1.25; text-wrap: balance; letter-spacing: -.011em; font-weight: 650 }
h1 { font-size: var(--title); letter-spacing: -.021em }
h2 { font-size: var(--large) }
h3 { font-size: var(--base) }
p, ul, ol, dl, pre, table, fieldset { margin: 0 }
p, li { max-width: 42rem; text-wrap: pretty }
a { color: inherit; text-decoration-color: var(--edge); text-underline-offset: .2em; text-decoration-thickness: 1px }
a:hover { text-decoration-color: currentcolor }
:focus-visible { outline: 2px solid var(--brass); outline-offset: 2px; border-radius: 3px }
code, pre, kbd, .code { font-family: var(--code); font-size: .9em; font-variant-ligatures: none }
pre { overflow-x: auto; padding: .75rem 1rem; background: var(--raised); border: 1px solid var(--line); border-radius: var(--radius); line-height: 1.6 }
time { white-space: nowrap; font-variant-numeric: tabular-nums }
hr { border: 0; border-top: 1px solid var(--line); margin: 0 }
[hidden] { display: none !important }
.said { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }

.skip { position: absolute; left: -999px; padding: .5rem 1rem; background: var(--ink); color: var(--paper) }
.skip:focus { left: 1rem; top: .5rem; z-index: 1 }
.top { border-bottom: 1px solid var(--line) }
.top > div { max-width: var(--page); margin: auto; padding: .75rem 1.25rem; display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1.5rem }
.top form { margin: 0 }
.brand { display: inline-flex; align-items: center; gap: .5rem; min-height: 2rem; font-weight: 650; font-size: 1.0625rem; letter-spacing: -.02em; text-decoration: none }
.brand svg { width: 1.25rem; height: 1.25rem; color: var(--brass) }
.where { color: var(--quiet); font-size: var(--small); margin-right: auto }
.where b { color: var(--ink); font-weight: 600 }
.top nav { flex-basis: 100%; display: flex; flex-wrap: wrap; align-items: center; gap: .25rem 1.25rem }
.top nav a { display: inline-flex; align-items: center; min-height: 2rem; color: var(--quiet); text-decoration: none; border-bottom: 2px solid transparent }
.top nav a:hover { color: var(--ink) }
.top nav a[aria-current] { color: var(--ink); border-color: var(--brass); font-weight: 600 }
search:has(.find) { margin-left: auto }
.find { display: flex; align-items: center; gap: .375rem; font-size: var(--small) }
.find input { width: 10.5rem }
main { max-width: var(--page); margin: auto; padding: 2.25rem 1.25rem 5rem; display: grid; gap: 2rem; grid-template-columns: minmax(0, 1fr) }
main.narrow { max-width: 42rem }
footer { max-width: var(--page); margin: auto; padding: 1.25rem; color: var(--quiet); font-size: var(--small); border-top: 1px solid var(--line) }
section, .stack, form.stack { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr) }
.title { display: flex; flex-wrap: wrap; align-items: center; gap: .75rem 1rem }
.title > :first-child { margin-right: auto }
.quiet { color: var(--quiet) }
.small { font-size: var(--small) }
h1 + p, .title + p { margin-top: .375rem }
.crumb { color: var(--quiet); font-size: var(--small); margin-bottom: .25rem }
.row { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem .75rem }
.spread { justify-content: space-between }

.button, button { display: inline-flex; align-items: center; justify-content: center; gap: .4em; min-height: 2.25rem; padding: .25rem .875rem; font: 500 var(--base)/1.3 var(--text); color: var(--ink); background: var(--paper); border: 1px solid var(--edge); border-radius: var(--radius); text-decoration: none; cursor: pointer; white-space: nowrap }
.button:hover, button:hover { background: var(--raised); border-color: var(--ink) }
.primary { background: var(--ink) !important; border-color: var(--ink); color: var(--paper) }
.primary:hover { opacity: .88 }
.danger { color: var(--bad); border-color: var(--bad) }
.danger.primary { background: var(--bad) !important; color: var(--paper) }
.plain { min-height: 1.75rem; padding: 0 .25rem; margin-inline: -.25rem; font-size: var(--small); background: none; border-color: transparent; text-decoration: underline; text-decoration-color: var(--edge); text-underline-offset: .2em }
.plain:hover { border-color: transparent }
.plain.danger { text-decoration-color: currentcolor }

label, legend { font-weight: 600; padding: 0 }
fieldset { border: 0; padding: 0; min-width: 0; display: grid; gap: .625rem }
legend { margin-bottom: .5rem }
input, textarea, select { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--edge); border-radius: var(--radius); min-height: 2.25rem; padding: .3125rem .625rem; width: 100%; max-width: 100% }
input[type=radio], input[type=checkbox] { width: 1.125rem; min-height: 1.125rem; height: 1.125rem; margin: .1875rem 0 0; flex: none; accent-color: var(--brass) }
textarea { resize: vertical; line-height: 1.5 }
input:hover, textarea:hover, select:hover { border-color: var(--ink) }
[aria-invalid] { border-color: var(--bad); box-shadow: 0 0 0 1px var(--bad) }
::placeholder { color: var(--quiet); opacity: 1 }
.field { display: grid; gap: .3125rem; align-content: start }
.field p { font-size: var(--small); color: var(--quiet) }
.field .error { color: var(--bad); font-weight: 500 }
.choice { display: flex; gap: .625rem; align-items: flex-start; font-weight: 400; min-height: 1.75rem; cursor: pointer }
.choice b { font-weight: 600 }
.choice small { display: block; color: var(--quiet); font-size: var(--small) }
.search { display: flex; gap: .5rem }
.filters { display: flex; flex-wrap: wrap; align-items: end; gap: .75rem 1rem }
.filters .field { flex: 0 1 13rem }

table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 500; font-size: var(--small); color: var(--quiet); white-space: nowrap; padding: 0 1.25rem .5rem 0; border-bottom: 1px solid var(--edge) }
td { padding: .75rem 1.25rem .75rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
th:last-child, td:last-child { padding-right: 0 }
td.actions { padding-top: .625rem; padding-bottom: .5rem }
td.actions > span { display: flex; flex-wrap: wrap; justify-content: flex-end; gap: .25rem 1rem }
td .sub { display: block; color: var(--quiet); font-size: var(--small) }
tr:target td { background: var(--brass-wash) }
.name { font-weight: 600 }

.state { display: inline-flex; align-items: center; gap: .4em; white-space: nowrap }
.state::before { content: ''; width: .5em; height: .5em; border-radius: 50%; background: currentcolor; color: var(--quiet) }
.state.good::before { color: var(--good) }
.state.wait::before { color: var(--brass) }
.state.bad::before { color: var(--bad) }
.state.off::before { background: none; border: 1.5px solid currentcolor }

.facts { display: grid; grid-template-columns: minmax(7rem, max-content) minmax(0, 1fr); gap: .5rem 1.5rem; align-items: baseline }
.facts dt { color: var(--quiet); font-size: var(--small) }
.facts dd { margin: 0; overflow-wrap: anywhere }
.notice { padding: .75rem 1rem; border: 1px solid var(--line); border-left: 3px solid var(--brass); border-radius: var(--radius); background: var(--brass-wash); display: grid; gap: .25rem }
.notice.bad { border-left-color: var(--bad); background: var(--bad-wash) }
.empty { padding: 1.75rem; border: 1px dashed var(--edge); border-radius: var(--radius); display: grid; gap: .75rem }
.empty > *, .empty pre { max-width: 100%; min-width: 0 }
.secret { padding: 1.25rem; border: 1px solid var(--brass); border-radius: var(--radius); background: var(--brass-wash); display: grid; gap: .75rem; grid-template-columns: minmax(0, 1fr) }
.secret textarea { font: 1rem/1.5 var(--code); field-sizing: content; resize: none; overflow-wrap: anywhere; word-break: break-all; background: var(--paper); border-color: var(--brass) }
.snippet { display: grid; gap: .375rem; grid-template-columns: minmax(0, 1fr) }
dialog { width: min(34rem, calc(100vw - 2rem)); padding: 1.5rem; border: 1px solid var(--edge); border-radius: 10px; background: var(--paper); color: var(--ink) }
dialog::backdrop { background: rgb(0 0 0 / .45) }

@media (max-width: 44rem) {
  main { padding: 1.5rem 1rem 4rem }
  .top > div { padding: .625rem 1rem; gap: .25rem 1rem }
  .where { order: 1; flex-basis: 100%; margin: 0 }
  .top > div > form { margin-left: auto }
  .top nav { order: 2; column-gap: 1rem }
  search:has(.find) { margin-left: 0; flex: 1 0 100% }
  .find { flex-wrap: wrap }
  .find input { flex: 1 }
  .facts { grid-template-columns: minmax(0, 1fr); gap: 0 }
  .facts dd { margin-bottom: .625rem }
  table, tbody, tr, td { display: block }
  thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden }
  tr { padding: .75rem 0; border-bottom: 1px solid var(--line) }
  tbody tr:first-child { border-top: 1px solid var(--edge) }
  td { border: 0; padding: .125rem 0 !important; display: grid; grid-template-columns: 6.5rem minmax(0, 1fr); gap: .75rem }
  td[data-label]::before { content: attr(data-label); color: var(--quiet); font-size: var(--small); line-height: 1.8 }
  td.wide, td.actions { display: block }
  td.actions > span { justify-content: flex-start; padding-top: .25rem }
}
@media (prefers-reduced-motion: no-preference) {
  a, button, .button, input, textarea, select { transition: color .12s, background-color .12s, border-color .12s }
}
@media (forced-colors: active) { .state::before { forced-color-adjust: none } }
@media print { .top, footer, .actions, button, .button { display: none } }
`
