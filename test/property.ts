import fc from 'fast-check'
import { seed } from './sizes.ts'

// Tests import fast-check from here, so that every property draws from the seed of the run.
fc.configureGlobal({ seed })

export default fc
