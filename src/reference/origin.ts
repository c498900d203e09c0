/** Placeholders in the generated files. The Worker replaces them by its own hostname and origin. */
export const HOSTNAME = 'oncekey.invalid'
export const ORIGIN = `https://${HOSTNAME}`

/**
 * Replaces the placeholders. WorkOS's Node SDK takes an origin as three options: `apiHostname`, `port` and `https`. The
 * text has only `apiHostname`, with the quoted hostname as its value. `port` is added if the origin contains a port,
 * and `https: false` if the origin is http.
 */
export function withOrigin(text: string, origin: string, style: 'html' | 'text' = 'text'): string {
  const { hostname, port, protocol } = new URL(origin)
  const [string, value] =
    style === 'html' ? [(name: string) => `<i>'${name}'</i>`, (word: string) => `<u>${word}</u>`] : [quoted, plain]
  const options = [
    string(hostname),
    ...(port === '' ? [] : [`port: ${value(port)}`]),
    ...(protocol === 'https:' ? [] : [`https: ${value('false')}`]),
  ]
  return text.replaceAll(ORIGIN, () => origin).replaceAll(string(HOSTNAME), () => options.join(', '))
}

const quoted = (name: string) => `'${name}'`
const plain = (word: string) => word
