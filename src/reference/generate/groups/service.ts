import * as v from 'valibot'
import type { Group } from '../operation.ts'

export const service: Group = {
  name: 'Service',
  description: 'For whoever runs this, and whoever reads about it. Nobody is asked who they are.',
  manner: 'api',
  schemas: { Health: v.strictObject({ status: v.literal('ok'), version: v.string() }) },
  routes: {
    'GET /healthz': {
      id: 'getHealth',
      summary: 'Ask whether it runs',
      description: 'Asks storage nothing.',
      caller: 'anybody',
      success: { status: 200, description: 'It runs.', schema: 'Health' },
    },
    'GET /readyz': {
      id: 'getReadiness',
      summary: 'Ask whether it can do its work',
      description: 'Storage answers, and has the tables of this version.',
      caller: 'anybody',
      success: { status: 200, description: 'It can.', schema: 'Health' },
      refusals: ['service_unavailable', 'internal_error'],
    },
    'GET /openapi.json': {
      id: 'getOpenApi',
      summary: 'Get this description',
      description: 'OpenAPI 3.1. May be kept for five minutes.',
      caller: 'anybody',
      success: { status: 200, description: 'The document.', schema: 'OpenApi' },
      refusals: ['internal_error'],
    },
    'GET /docs': {
      id: 'getReference',
      summary: 'Read this description',
      description: 'The same, as a page.',
      caller: 'anybody',
      success: { status: 200, description: 'The page.', schema: 'html' },
      refusals: ['internal_error'],
    },
    'GET /': {
      id: 'getStart',
      summary: 'Find your way',
      description: 'A page of links.',
      caller: 'anybody',
      success: { status: 200, description: 'The page.', schema: 'html' },
      refusals: ['internal_error'],
    },
  },
}
