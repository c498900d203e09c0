import autocannon from 'autocannon'
import type { LoadJob, LoadResult } from './load.ts'
import { quantile } from './statistics.ts'

/** The process that sends load: takes jobs from its parent, one after another. */
process.on('message', async (job: LoadJob) => {
  process.send?.(await run(job))
})

async function run({ url, connections, requests, status, body }: LoadJob): Promise<LoadResult> {
  const shares = Array.from({ length: connections }, (_, i) => requests.filter((_, at) => at % connections === i))
  const latencies: number[] = []
  const failures: Record<string, number> = {}
  const count = (failure: string | number) => {
    failures[failure] = (failures[failure] ?? 0) + 1
  }
  const begun = performance.now()
  let last = begun
  await new Promise((resolve) => {
    const options: autocannon.Options = {
      url,
      connections,
      amount: requests.length,
      timeout: 30,
      // Milliseconds, in which it looks whether it has finished.
      sampleInt: 20,
      skipAggregateResult: true,
      // Requests are written out before the first of them is sent.
      setupClient: (client) => client.setRequests((shares.pop() ?? []).map((request) => ({ ...request }))),
      verifyBody: (text) => {
        if (body !== undefined && !String(text).includes(body)) count('body')
        return true
      },
    }
    const instance = autocannon(options, resolve)
    instance.on('response', (_, answered, __, milliseconds) => {
      last = performance.now()
      latencies.push(milliseconds)
      if (answered !== status) count(answered)
    })
    instance.on('reqError', () => count('connection'))
  })
  latencies.sort((a, b) => a - b)
  return { seconds: (last - begun) / 1000, p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99), failures }
}
