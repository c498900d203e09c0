import { Failure, progress } from './command.ts'

/** One of several things that a command does in order, each to be begun again from anywhere. */
export interface Step {
  readonly will: string
  /** Does it, unless it was done before, and says what came of it. */
  readonly run: () => Promise<string>
}

/** Says what each step will do. */
export function showSteps(steps: readonly Step[]): void {
  for (const i of steps.keys()) progress(heading(steps, i))
}

/** Says before each step what it will do, and stops at the first that fails. `again` is what to run then. */
export async function runSteps(steps: readonly Step[], again: string): Promise<void> {
  for (const [i, { run }] of steps.entries()) {
    progress(`${heading(steps, i)}…`)
    try {
      progress(`      ${await run()}`)
    } catch (error) {
      throw new Failure(`${(error as Error).message}\nThen run \`${again}\` again: it goes on from here.`)
    }
  }
}

function heading(steps: readonly Step[], i: number): string {
  return `[${i + 1}/${steps.length}] ${steps[i]?.will}`
}
