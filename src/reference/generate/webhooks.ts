import type { OpenApi } from './openapi.ts'

/** The requests that Oncekey sends, as `webhooks` of OpenAPI 3.1. The guide "Events and webhooks" has the details. */
export const webhooks: OpenApi['webhooks'] = {
  event: {
    post: {
      operationId: 'receiveEvent',
      tags: ['Events'],
      summary: 'Receive an event',
      description:
        'A webhook endpoint receives each event at least once, and not always in order. Check `WorkOS-Signature` before you use the body, respond within 10 seconds, and remember the IDs of the events that you have processed.',
      security: [],
      parameters: [
        {
          name: 'WorkOS-Signature',
          in: 'header',
          required: true,
          description:
            '`t`: the time of this attempt in Unix milliseconds. `v1`: HMAC-SHA-256, in lower-case hex, of `t`, a dot and the body, with the signing secret of the endpoint.',
          schema: { type: 'string', pattern: '^t=[0-9]+, v1=[0-9a-f]{64}$' },
          example: 't=1763199000000, v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd',
        },
      ],
      requestBody: {
        required: true,
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Event' } } },
      },
      responses: {
        '2XX': { description: 'The delivery is done.' },
        '410': { description: 'The delivery has failed. Oncekey does not retry it.' },
        default: { description: 'Oncekey retries the delivery for at least 72 hours, or after your `Retry-After`.' },
      },
    },
  },
}
