import { repeat } from '../repeat.ts'

await repeat('conformance/webhooks')
