import * as schemas from '../../../contract/events.ts'
import type { Group } from '../operation.ts'

export const events: Group = {
  name: 'Events',
  description: 'What happened in this environment, in the order in which it was committed, and who did it.',
  manner: 'api',
  schemas: { Event: schemas.Event, EventList: schemas.EventList, ListEvents: schemas.ListEvents },
  routes: {
    'GET /events': {
      id: 'listEvents',
      summary: 'List events',
      description:
        'By page, oldest first unless asked otherwise. Whoever reads on after the last one it has seen misses none.',
      caller: 'read',
      query: 'ListEvents',
      success: { status: 200, description: 'A page.', schema: 'EventList' },
    },
  },
}
