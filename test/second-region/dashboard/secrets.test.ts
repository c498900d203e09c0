import { repeat } from '../repeat.ts'

await repeat('dashboard/secrets')
