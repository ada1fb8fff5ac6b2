import type { NodeStatus } from '../../scripts/demo/answers.ts';

/** What a node at rest says, but for what is given; `waiting` changes are in its queue. */
export function statusOf(given: Partial<NodeStatus>, waiting = 0): NodeStatus {
  return {
    state: 'idle',
    online: true,
    cursor: 0,
    queue: { total: waiting, dead: 0, bytes: 0, byPriority: { critical: 0, high: 0, normal: waiting } },
    plan: { strategy: 'full' },
    digest: '',
    traffic: { uploaded: 0, roundTrips: 0, bytesUp: 0, bytesDown: 0 },
    ...given,
  };
}
