import type { Endpoint, Message } from '../network.ts';
import type { Plant } from '../world.ts';

/** Ways upstream that do something else than they should. */
type Route = NonNullable<Plant['route']>;

/** One node's messages reach the cloud of the other space. */
export const toOtherSpace: Route = (usual, { space, nodeId }, { spaces }) => {
  const isStray = space === 'north' && nodeId === 'n1';
  return (isStray ? spaces.find(({ name }) => name !== space)?.cloud : undefined) ?? usual;
};

/** A message that arrives again is taken for a new one, and its increments for new increments. */
export const takingRetriesForNew: Route = oneForEach((usual) => {
  const seen = new Set<string>();
  return {
    receive: (message) => {
      const isAgain = message.method === 'exchange' && seen.has(message.text);
      seen.add(message.text);
      return usual.receive(isAgain ? asNew(message) : message);
    },
  };
});

/** The cloud says that it has all that it is asked for. */
export const claimingToHaveAll: Route = oneForEach((usual) => ({
  receive: (message) => usual.receive(message)?.replace('"covered":false', '"covered":true'),
}));

/** A proxy gives an answer once more, to a node that asks again from the same place. */
export const answeringFromCache: Route = oneForEach((usual) => {
  const cache = new Map<string, string>();
  return {
    receive: (message) => {
      const place = placeOf(message);
      if (place === undefined) return usual.receive(message);
      const cached = cache.get(place);
      cache.delete(place);
      if (cached !== undefined) return cached;
      const answer = usual.receive(message);
      if (answer?.startsWith('{"ok":true')) cache.set(place, answer);
      return answer;
    },
  };
});

/** Of one endpoint one stand-in is made, so that it can remember. */
function oneForEach(standIn: (usual: Endpoint) => Endpoint): Route {
  const made = new WeakMap<Endpoint, Endpoint>();
  return (usual) => {
    const known = made.get(usual) ?? standIn(usual);
    made.set(usual, known);
    return known;
  };
}

const NEW_COUNTERS = 1_000;

function asNew(message: Message): Message {
  const batch = JSON.parse(message.text);
  const changes = batch.changes.map((change: { id: string; nodeId: string }) => {
    const counter = Number(change.id.slice(change.id.indexOf(':') + 1)) + NEW_COUNTERS;
    return { ...change, id: `${change.nodeId}:${counter}` };
  });
  return { ...message, text: JSON.stringify({ ...batch, batchId: `${batch.batchId}-again`, changes }) };
}

/** Where a message that only reads stands; undefined: it writes. */
function placeOf({ method, sender, text }: Message): string | undefined {
  if (method !== 'exchange') return undefined;
  const batch = JSON.parse(text);
  return batch.changes.length > 0 || batch.void !== undefined ? undefined : `${sender} ${batch.cursor}`;
}
