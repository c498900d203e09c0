import { repeat } from '../repeat.ts'

await repeat('oauth/introspection')
