import { repeat } from '../repeat.ts'

await repeat('dashboard/every-page')
