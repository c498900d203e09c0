import { atEnd } from '../at-end.ts'
import { home } from '../operator.ts'

/** Repeats the tests of a file with their database as that of the second one of three regions. */
export async function repeat(file: string): Promise<void> {
  const { region } = home
  home.region = '1'
  atEnd(() => {
    home.region = region
  })
  if (navigator.userAgent === 'Cloudflare-Workers') {
    const { env } = await import('cloudflare:workers')
    const { REGIONS } = env
    Object.assign(env, { REGIONS: '0=DB_1,1=DB,2=DB_2' })
    atEnd(() => void Object.assign(env, { REGIONS }))
  }
  // The query makes it another module, so that the file defines its tests again.
  await import(/* @vite-ignore */ `/test/${file}.test.ts?second-region`)
}
