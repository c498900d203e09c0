import * as v from 'valibot'
import { LEAK_REACTIONS } from '../storage/environments.ts'
import { Timestamp } from './fields.ts'
import { rule } from './rules.ts'

/** Schemas of the caller's environment and its settings. */

const LeakReaction = v.picklist(LEAK_REACTIONS)

/** A limit of the policy for client secrets. Null removes the limit. */
const Days = v.nullish(
  v.pipe(
    v.number(),
    v.integer(rule('policy_days_out_of_range')),
    v.minValue(1, rule('policy_days_out_of_range')),
    v.maxValue(3650, rule('policy_days_out_of_range')),
  ),
)

/** Absent members stay unchanged. */
export const UpdateEnvironment = v.object({
  leak_reaction: v.optional(LeakReaction),
  max_lifetime_days: Days,
  max_unused_days: Days,
  /** True freezes the environment, false unfreezes it. */
  frozen: v.optional(v.boolean()),
})

export const Environment = v.strictObject({
  object: v.literal('environment'),
  id: v.string(),
  client_id: v.string(),
  name: v.string(),
  leak_reaction: LeakReaction,
  max_lifetime_days: v.nullable(v.number()),
  max_unused_days: v.nullable(v.number()),
  /** Null unless the environment is frozen. */
  frozen_at: v.nullable(Timestamp),
  created_at: Timestamp,
})
