import { repeat } from '../repeat.ts'

await repeat('events/schedule')
