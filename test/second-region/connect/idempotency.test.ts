import { repeat } from '../repeat.ts'

await repeat('connect/idempotency')
