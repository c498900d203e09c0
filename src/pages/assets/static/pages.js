/*
 * The script of the dashboard: copy buttons, confirmations as dialogs, and a warning before the user leaves an unsaved
 * secret. Every page works without it. It stores nothing.
 */

const COPIED_MS = 3000
/** The same pattern as in `mayContainCredential` of the Worker. */
const CREDENTIAL = /[0-9A-Za-z]{40,}/
const HINT_LENGTH = 6
const POLL_MS = 5000
const POLLS = 120

const status = document.getElementById('status')
let unsaved = document.querySelector('[data-unsaved]')

for (const button of document.querySelectorAll('[data-copy], [data-download]')) button.hidden = false

for (const element of document.querySelectorAll('[data-poll]')) showFirstUse(element)

// This page is the response to a form, and can't be shown again. Reloading it or coming back to it opens the page in
// `data-unsaved`, such as that of the application.
if (unsaved) history.replaceState(null, '', unsaved.dataset.unsaved)

async function copy(button) {
  const what = button.dataset.what ?? button.querySelector('.visually-hidden').textContent.trim()
  const source = document.getElementById(button.dataset.copy) ?? button.previousElementSibling
  let isCopied = true
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent)
    if (unsaved?.contains(source)) unsaved = null
  } catch {
    isCopied = false
    getSelection().selectAllChildren(source)
    source.select?.()
  }
  button.dataset.state = isCopied ? 'copied' : 'failed'
  status.textContent = isCopied
    ? `${what} copied.`
    : 'The browser blocked copying. The text is selected: press Ctrl+C or ⌘C.'
  clearTimeout(button.resetTimer)
  button.resetTimer = setTimeout(() => {
    delete button.dataset.state
    status.textContent = ''
  }, COPIED_MS)
}

/** The file has a blob URL, so that the browser's list of downloads does not keep the secret. */
function download(button) {
  const text = document.getElementById(button.dataset.download).textContent
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([`${text}\n`], { type: 'text/plain' }))
  link.download = button.dataset.file
  link.click()
  URL.revokeObjectURL(link.href)
  unsaved = null
  status.textContent = `${link.download} downloaded.`
}

/** Shows the first use of a new secret. Stops after 10 minutes, because each request keeps the session active. */
async function showFirstUse(element) {
  const link = element.querySelector('a')
  const url = link.href
  link.replaceWith('Waiting for the first use. It appears here.')
  for (let i = 0; i < POLLS; i++) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    if (document.hidden) continue
    const found = (await loadPage(url).catch(() => null))?.querySelector('#first-use[data-used]')
    if (found) {
      element.textContent = found.textContent
      element.classList.add('notice', 'good')
      return
    }
  }
  element.replaceChildren(link)
}

/**
 * Loads a page as a document. XMLHttpRequest parses HTML without running scripts, and no text is assigned to innerHTML.
 */
function loadPage(url) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open('GET', url)
    request.responseType = 'document'
    request.onload = () => (request.status === 200 ? resolve(request.response) : reject(request))
    request.onerror = reject
    request.send()
  })
}

async function openDialog(link) {
  try {
    const confirm = (await loadPage(link.href)).getElementById('confirm')
    const dialog = document.createElement('dialog')
    dialog.setAttribute('aria-labelledby', 'confirm-title')
    dialog.append(document.importNode(confirm, true))
    dialog.addEventListener('close', () => dialog.remove())
    document.body.append(dialog)
    // Closing the menu returns the focus to its button. Closing the dialog then returns the focus there, too.
    link.closest('[popover]')?.hidePopover()
    dialog.showModal()
    // Scroll to the title, even if the focus starts at the end of a long dialog.
    dialog.scrollTop = 0
  } catch {
    location.assign(link.href)
  }
}

document.addEventListener('click', (event) => {
  const closest = (selector) => event.target.closest(selector)
  if (closest('[data-copy]')) copy(closest('[data-copy]'))
  if (closest('[data-download]')) download(closest('[data-download]'))
  if (closest('[data-saved]')) unsaved = null
  if (event.ctrlKey || event.metaKey || event.shiftKey) return
  if (closest('[data-dialog]')) {
    event.preventDefault()
    openDialog(closest('[data-dialog]'))
  }
  if (closest('[data-cancel]') && closest('dialog')) {
    event.preventDefault()
    closest('dialog').close()
  }
})

// One checkbox selects all rows of the page. Without this script, the value of the checkbox has the same effect.
document.addEventListener('change', ({ target }) => {
  const page = target.form?.elements.page
  if (!page) return
  const rows = [...target.form.querySelectorAll('[name=secret]')]
  if (target === page) for (const row of rows) row.checked = page.checked
  else page.checked = rows.every((row) => row.checked)
})

// A second submit would abort the first response, and lose the secret that it shows once.
let submitted = new WeakSet()
document.addEventListener('submit', (event) => {
  const form = event.target
  if (submitted.has(form)) event.preventDefault()
  submitted.add(form)
  if (unsaved?.contains(form)) unsaved = null
  for (const button of form.querySelectorAll('[type=submit]')) button.setAttribute('aria-disabled', 'true')
})

document.addEventListener('copy', (event) => {
  if (unsaved?.contains(event.target)) unsaved = null
})

addEventListener('beforeunload', (event) => {
  if (unsaved) event.preventDefault()
})

// The browser may keep the page for going back, but must not keep the secret.
addEventListener('pagehide', () => {
  for (const shown of document.querySelectorAll('[data-unsaved] textarea, [data-unsaved] pre')) {
    shown.value = ''
    shown.textContent = ''
  }
})
addEventListener('pageshow', (event) => {
  if (!event.persisted) return
  if (document.querySelector('[data-unsaved]')) location.reload()
  submitted = new WeakSet()
  for (const button of document.querySelectorAll('[aria-disabled]')) button.removeAttribute('aria-disabled')
})

// The last characters of a pasted secret are enough to find it. The others do not leave the browser.
document.addEventListener('paste', (event) => {
  if (!event.target.closest('search')) return
  const [credential] = CREDENTIAL.exec(event.clipboardData.getData('text')) ?? []
  if (!credential) return
  event.preventDefault()
  event.target.value = credential.slice(-HINT_LENGTH)
})

// The key / moves the focus to the search, unless a field has the focus.
document.addEventListener('keydown', (event) => {
  const isTyping = event.target.closest('input, textarea, select, dialog')
  if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return
  const field = document.getElementById('q')
  if (!field) return
  event.preventDefault()
  if (!field.checkVisibility()) field.closest('[popover]')?.showPopover()
  field.focus()
})
