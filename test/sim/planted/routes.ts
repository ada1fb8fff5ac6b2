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
    receive: (message, reply) => {
      const isAgain = message.method === 'exchange' && seen.has(message.text);
      seen.add(message.text);
      const told = (answer: string) => reply(withoutNewCounters(answer));
      if (!isAgain) usual.receive(withoutNewest(message), told);
      // The node hears of its own.
      else usual.receive(withoutNewest(asNew(message)), (answer) => told(answeredAsSent(answer)));
    },
  };
});

/** The cloud says that it has all that it is asked for. */
export const claimingToHaveAll: Route = oneForEach((usual) => ({
  receive: (message, reply) =>
    usual.receive(message, (answer) => reply(answer.replace('"covered":false', '"covered":true'))),
}));

/** All that comes before what is sent is declared void, whether it waits or not. */
export const declaringAllVoid: Route = oneForEach((usual) => ({
  receive: (message, reply) =>
    usual.receive(message.method === 'exchange' ? { ...message, text: withVoids(message.text) } : message, reply),
}));

/** The cloud says every other time that there is nothing new, at first. */
export const hidingNews: Route = oneForEach((usual) => {
  let reads = 0;
  return {
    receive: (message, reply) =>
      usual.receive(message, (answer) => {
        const batch = message.method === 'exchange' ? JSON.parse(message.text) : undefined;
        const isPlainRead = batch?.changes.length === 0 && batch.since === batch.cursor;
        const isHidden = isPlainRead && answer.startsWith('{"ok":true') && reads++ % 2 === 0 && reads <= HIDDEN_READS;
        reply(isHidden ? withoutNews(answer, batch.cursor) : answer);
      }),
  };
});

function withoutNews(answer: string, cursor: number): string {
  const { digest: _, ...value } = JSON.parse(answer).value;
  return JSON.stringify({ ok: true, value: { ...value, changes: [], cursor, more: false } });
}

/** Few enough that all come to rest in the end. */
const HIDDEN_READS = 60;

/** Of one endpoint one stand-in is made, so that it can remember. */
function oneForEach(standIn: (usual: Endpoint) => Endpoint): Route {
  const made = new WeakMap<Endpoint, Endpoint>();
  return (usual) => {
    const known = made.get(usual) ?? standIn(usual);
    made.set(usual, known);
    return known;
  };
}

function withVoids(text: string): string {
  const { checksum: _, ...batch } = JSON.parse(text);
  const counters: number[] = batch.changes.map(({ id }: { id: string }) => counterOf(id));
  const newest = Math.max(...counters);
  return newest > 1 ? JSON.stringify({ ...batch, void: [[1, newest - 1]] }) : text;
}

function counterOf(dot: string): number {
  return Number(dot.slice(dot.indexOf(':') + 1));
}

/** Else the cloud sees that the node has not made so many. */
function withoutNewest(message: Message): Message {
  if (message.method !== 'exchange') return message;
  const { newest: _, ...batch } = JSON.parse(message.text);
  return { ...message, text: JSON.stringify(batch) };
}

function answeredAsSent(answer: string): string {
  const { ok, value } = JSON.parse(answer);
  if (!ok) return answer;
  const results = value.results.map((result: { id: string }) => {
    const [nodeId] = result.id.split(':');
    return { ...result, id: `${nodeId}:${counterOf(result.id) - NEW_COUNTERS}` };
  });
  return JSON.stringify({ ok, value: { ...value, results } });
}

const NEW_COUNTERS = 1_000;

function withoutNewCounters(answer: string): string {
  const { ok, value } = JSON.parse(answer);
  if (!ok || value.received === undefined) return answer;
  const extra = value.received.extra.filter(([from]: readonly [number]) => from <= NEW_COUNTERS);
  return JSON.stringify({ ok, value: { ...value, received: { ...value.received, extra } } });
}

function asNew(message: Message): Message {
  const batch = JSON.parse(message.text);
  const changes = batch.changes.map((change: { id: string; nodeId: string }) => {
    const counter = counterOf(change.id) + NEW_COUNTERS;
    return { ...change, id: `${change.nodeId}:${counter}` };
  });
  const { checksum: _, digest: __, newest: ___, ...again } = { ...batch, batchId: `${batch.batchId}-again`, changes };
  return { ...message, text: JSON.stringify(again) };
}
