/*
 * Comfort, for browsers that run it: copying, confirmations as dialogs, a question before a secret is left unsaved.
 * Every page works without. It keeps nothing anywhere.
 */
{
  const status = document.getElementById('status')
  let unsaved = document.querySelector('[data-unsaved]')

  for (const button of document.querySelectorAll('[data-copy]')) button.hidden = false

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy)
    const label = button.textContent
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent)
      button.textContent = 'Copied'
      status.textContent = `${button.dataset.what} copied.`
    } catch {
      source.select?.()
      status.textContent = 'This browser does not let the page copy. Select the text and copy it yourself.'
    }
    setTimeout(() => {
      button.textContent = label
      status.textContent = ''
    }, 3000)
  }

  async function openDialog(link) {
    try {
      const response = await fetch(link.href)
      if (!response.ok || response.redirected) throw response
      const page = await response.text()
      const dialog = document.createElement('dialog')
      dialog.setAttribute('aria-labelledby', 'confirm-title')
      dialog.innerHTML = page.slice(page.indexOf('<section id="confirm"'), page.lastIndexOf('</section>'))
      dialog.addEventListener('close', () => dialog.remove())
      document.body.append(dialog)
      dialog.showModal()
    } catch {
      location.assign(link.href)
    }
  }

  document.addEventListener('click', (event) => {
    const on = (selector) => event.target.closest(selector)
    if (on('[data-copy]')) copy(on('[data-copy]'))
    if (on('[data-saved]')) unsaved = null
    if (event.ctrlKey || event.metaKey || event.shiftKey) return
    if (on('[data-dialog]')) {
      event.preventDefault()
      openDialog(on('[data-dialog]'))
    }
    if (on('[data-cancel]') && on('dialog')) {
      event.preventDefault()
      on('dialog').close()
    }
  })

  addEventListener('beforeunload', (event) => {
    if (unsaved) event.preventDefault()
  })
  // A page that is kept for going back to must not keep the secret.
  addEventListener('pagehide', () => {
    for (const shown of document.querySelectorAll('[data-unsaved] textarea, [data-unsaved] pre'))
      shown.textContent = shown.value = ''
  })

  // Whoever pastes a whole secret to look for it means its end, and shall not send the rest.
  document.querySelector('[name=hint]')?.addEventListener('paste', (event) => {
    const text = event.clipboardData.getData('text').trim()
    if (text.length <= 6) return
    event.preventDefault()
    event.target.value = text.slice(-6)
  })

  const url = new URL(location)
  if (url.searchParams.has('notice')) {
    url.searchParams.delete('notice')
    history.replaceState(null, '', url)
  }
}
