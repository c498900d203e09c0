import * as v from 'valibot'
import { LEAK_REACTIONS } from '../storage/environments.ts'
import { Timestamp } from './fields.ts'

/** The environment of a caller, and its settings. */

const LeakReaction = v.picklist(LEAK_REACTIONS)

/** Absent members stay as they are. */
export const UpdateEnvironment = v.object({ leak_reaction: v.optional(LeakReaction) })

export const Environment = v.strictObject({
  object: v.literal('environment'),
  id: v.string(),
  client_id: v.string(),
  name: v.string(),
  leak_reaction: LeakReaction,
  /** Null unless the environment is frozen. */
  frozen_at: v.nullable(Timestamp),
  created_at: Timestamp,
})
