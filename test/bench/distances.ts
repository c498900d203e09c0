/** Round trips between the places of bench:world, in milliseconds. */

/** Where traffic comes from: the Cloudflare site nearest to its callers. */
export const ORIGINS = [
  'North America (Washington)',
  'South America (São Paulo)',
  'Europe (Frankfurt)',
  'Africa (Cape Town)',
  'Asia (Tokyo)',
  'Oceania (Sydney)',
] as const

export type Origin = (typeof ORIGINS)[number]

/** Location hints of D1, each in the city that the table has for it. D1 has none in South America and Africa. */
export const LOCATIONS = ['enam', 'weur', 'apac', 'oc'] as const

export type Location = (typeof LOCATIONS)[number]

/** A site and a database in two cities of one region: the first source has 9 for Tokyo–Osaka, 13 for Frankfurt–London. */
const IN_REGION = 10

/** To Washington, Frankfurt, Tokyo and Sydney. */
const ROUND_TRIPS: Readonly<Record<Origin, Readonly<Record<Location, number>>>> = {
  'North America (Washington)': { enam: IN_REGION, weur: 89, apac: 139, oc: 215 },
  'South America (São Paulo)': { enam: 128, weur: 204, apac: 283, oc: 326 },
  'Europe (Frankfurt)': { enam: 88, weur: IN_REGION, apac: 235, oc: 248 },
  'Africa (Cape Town)': { enam: 231, weur: 159, apac: 353, oc: 411 },
  'Asia (Tokyo)': { enam: 139, weur: 235, apac: IN_REGION, oc: 118 },
  'Oceania (Sydney)': { enam: 213, weur: 248, apac: 115, oc: IN_REGION },
}

export const SOURCES = [
  'IBM Cloud, averages of 20 Dec 2025–18 Jan 2026: https://github.com/ibm-cloud-docs/vpc/blob/be2d5d2e3ea9d9e1a2fa358c91aa78a7dc5a5b59/_include-segments/network-latency.md',
  'Cape Town: cloudping.co, as kept in https://github.com/libp2p/jvm-libp2p/blob/267a4d46b6899512f4d3ad8377afe6f94cc21033/tools/simulator/src/main/kotlin/io/libp2p/simulate/delay/latency/aws/AwsLatencies.kt',
]

export function roundTrip(origin: Origin, location: Location): number {
  return ROUND_TRIPS[origin][location]
}

/** The location with the shortest round trip. */
export function nearestLocation(origin: Origin): Location {
  return LOCATIONS.toSorted((a, b) => roundTrip(origin, a) - roundTrip(origin, b))[0] as Location
}
