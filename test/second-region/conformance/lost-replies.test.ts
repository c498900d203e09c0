import { repeat } from '../repeat.ts'

await repeat('conformance/lost-replies')
