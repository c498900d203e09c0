import { repeat } from './repeat.ts'

await repeat('tenancy')
