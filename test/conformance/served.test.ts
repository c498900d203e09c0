import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { freePort } from '../served.ts'

const RANGE = '/proc/sys/net/ipv4/ip_local_port_range'

test.skipIf(process.platform !== 'linux')(
  'a Worker of the tests never listens on a port that the system may give to another program',
  async () => {
    const first = Number.parseInt(readFileSync(RANGE, 'utf8'), 10)
    const ports = [await freePort(), await freePort()]
    expect(Math.max(...ports)).toBeLessThan(first)
    expect(new Set(ports).size).toBe(2)
  },
)
