/* The script of the reference, which also works without it: copy buttons, one language for all samples, a filter. */
const all = (selector) => [...document.querySelectorAll(selector)]

for (const block of all('.block')) {
  const button = document.createElement('button')
  button.textContent = 'Copy'
  button.ariaLive = 'polite'
  button.onclick = async () => {
    const code = block.querySelector('code')
    try {
      await navigator.clipboard.writeText(code.textContent)
      button.textContent = 'Copied'
    } catch {
      getSelection().selectAllChildren(code)
      button.textContent = 'Press Ctrl+C or ⌘C'
    }
    setTimeout(() => (button.textContent = 'Copy'), 3000)
  }
  block.prepend(button)
}

const choose = (value) => {
  for (const radio of all('[name^="l-"]')) radio.checked ||= radio.value === value
}
addEventListener('change', ({ target }) => {
  if (!target.name.startsWith('l-')) return
  const { top } = target.getBoundingClientRect()
  choose(target.value)
  scrollBy(0, target.getBoundingClientRect().top - top)
  localStorage.language = target.value
})

const links = all('.contents :is(h2, li) a')
const named = (link) => document.querySelector(link.hash)
const input = document.querySelector('[type=search]')
input.parentNode.hidden = false
input.oninput = () => {
  const words = input.value.toLowerCase().split(/\s+/)
  for (const link of links) {
    const text = link.textContent + (named(link).querySelector('.route')?.textContent ?? '')
    link.parentNode.hidden = !words.every((word) => text.toLowerCase().includes(word))
  }
}
addEventListener('keydown', (event) => {
  const { key } = event
  if (key === 'Enter' && event.target === input) links.find((link) => !link.parentNode.hidden)?.click()
  const isShortcut = (event.ctrlKey || event.metaKey) && key === 'k'
  if (!isShortcut && (key !== '/' || event.target.matches('input'))) return
  event.preventDefault()
  if (!input.offsetParent) location.hash = 'contents'
  input.select()
})

const place = document.querySelector('.bar span')
let current
const spy = () => {
  const link = links.findLast((link) => named(link).getBoundingClientRect().top < 120)
  if (link === current) return
  current?.removeAttribute('aria-current')
  current = link
  place.textContent = link?.firstChild.textContent
  link?.setAttribute('aria-current', 'true')
  link?.scrollIntoViewIfNeeded?.(false)
}
addEventListener('scroll', spy, { passive: true })

// These lines come last, because a browser may forbid localStorage, which throws.
choose(localStorage.language)
document.querySelector(':target')?.scrollIntoView()
