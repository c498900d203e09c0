import { SourceMap } from 'node:module'
import { type CallFrame, type CpuProfile, SAMPLING_INTERVAL_US } from './inspector.ts'

/** Where time goes, in microseconds per request. */
export interface Place {
  /** A function, by its source where that is known. */
  readonly name: string
  /** In the function itself. */
  readonly self: number
  /** Together with what it called. */
  readonly total: number
}

interface MappedPlace {
  readonly originalSource?: string
  readonly originalLine?: number
  readonly name?: string
}

/** V8's names for the time in which a Worker waits. */
const IDLE = '(idle)'
const ROOT = '(root)'

/** Reads a profile, busiest place first. `sourceMap` leads from the Worker's bundle to its sources. */
export function readProfile({ nodes, samples }: CpuProfile, requests: number, sourceMap?: string): Place[] {
  const map = sourceMap === undefined ? null : new SourceMap(JSON.parse(sourceMap))
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)))
  const nameOfNode = (id: number): string => {
    const parent = parents.get(id)
    const name = nameOf(frames.get(id) as CallFrame, map)
    return name === '' && parent !== undefined ? `native code, called by ${nameOfNode(parent)}` : name
  }
  const names = new Map(nodes.map(({ id }) => [id, nameOfNode(id)]))
  const times = new Map<string, { self: number; total: number }>()
  const add = (name: string, kind: 'self' | 'total') => {
    const time = times.get(name) ?? { self: 0, total: 0 }
    time[kind] += SAMPLING_INTERVAL_US / requests
    times.set(name, time)
  }
  for (const sample of samples) {
    add(names.get(sample) as string, 'self')
    const stack = new Set<string>()
    for (let id: number | undefined = sample; id !== undefined; id = parents.get(id)) stack.add(names.get(id) as string)
    for (const name of stack) add(name, 'total')
  }
  return [...times]
    .map(([name, time]) => ({ name, ...time }))
    .filter(({ name }) => name !== IDLE && name !== ROOT)
    .sort((a, b) => b.self - a.self)
}

/** The time in functions themselves, by the package or the room of their source. */
export function byRoom(places: readonly Place[]): [room: string, self: number][] {
  const rooms = new Map<string, number>()
  for (const { name, self } of places) rooms.set(roomOf(name), (rooms.get(roomOf(name)) ?? 0) + self)
  return [...rooms].sort(([, a], [, b]) => b - a)
}

function roomOf(name: string): string {
  const packaged = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(name)?.[1]
  return packaged ?? /src\/[^/:]+/.exec(name)?.[0] ?? / (cloudflare-internal:.*):\d+$/.exec(name)?.[1] ?? name
}

/** Empty for native code that has no name. */
function nameOf({ functionName, url, lineNumber, columnNumber }: CallFrame, map: SourceMap | null): string {
  if (lineNumber < 0) return functionName
  const entry = url === 'index.js' ? (map?.findEntry(lineNumber, columnNumber) as MappedPlace) : undefined
  if (!entry?.originalSource) return `${functionName} ${url}:${lineNumber + 1}`.trim()
  const source = entry.originalSource.replace(/^.*?((node_modules|src)\/)/, '$1')
  return `${entry.name ?? ''} ${source}:${(entry.originalLine ?? 0) + 1}`.trim()
}
