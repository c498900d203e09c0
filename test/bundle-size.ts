import { gzipSync } from 'node:zlib'
import manifest from '../package.json' with { type: 'json' }
import { bundle } from './bundle-worker.ts'

/** Fails when the Worker has grown past what a new isolate should have to load, or contains another package. */
const LIMIT_KIB = 116

const { script, sourceMap } = await bundle('src/index.ts')
const kib = gzipSync(script).length / 1024
console.log(`bundle: ${kib.toFixed(1)} KiB gzipped, of ${LIMIT_KIB}`)
if (kib > LIMIT_KIB) process.exitCode = 1

const packages = new Set([...sourceMap.matchAll(/node_modules\/((?:@[\w.-]+\/)?[\w.-]+)\//g)].map(([, name]) => name))
for (const name of packages) {
  if (Object.hasOwn(manifest.dependencies, `${name}`)) continue
  console.error(`The bundle contains ${name}, which is not a production dependency.`)
  process.exitCode = 1
}
