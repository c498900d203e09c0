import { gzipSync } from 'node:zlib'
import { bundleWorker } from './bundle-worker.ts'

/** Fails when the Worker has grown past what a new isolate should have to load. */
const LIMIT_KIB = 116

const kib = gzipSync(await bundleWorker()).length / 1024
console.log(`bundle: ${kib.toFixed(1)} KiB gzipped, of ${LIMIT_KIB}`)
if (kib > LIMIT_KIB) process.exitCode = 1
