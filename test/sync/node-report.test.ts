import { describe, expect, test } from 'vitest';
import { batch as batchSchema } from '../../src/protocol/messages.ts';
import { reportOf } from '../../src/sync/node-report.ts';
import { NO_BYTES } from '../../src/sync/tally.ts';
import { Node, World } from './world.ts';

const calm = { byPriority: { critical: 0, high: 0, normal: 0 }, oldestMs: 0, dead: 0, digestMismatches: 0 };

describe('what a node says of itself', () => {
  test('[S35] is nothing, as long as there is nothing to say', () => {
    expect(reportOf(calm, 'full', NO_BYTES)).toBeUndefined();
  });

  test('[S35] is what waits, what is dead, what goes over its link and what has gone, and no zeros', () => {
    const troubled = { byPriority: { critical: 0, high: 2, normal: 1 }, oldestMs: 7.5, dead: 3, digestMismatches: 1 };
    const traffic = { bytesUp: 1, bytesDown: 2, plainBytesUp: 3, plainBytesDown: 4 };
    expect(reportOf(troubled, 'critical', traffic)).toEqual({
      queue: { high: 2, normal: 1 },
      oldestMs: 7,
      dead: 3,
      plan: 'critical',
      digestMismatches: 1,
      bytes: [1, 2, 3, 4],
    });
    // A clock that was put back.
    expect(reportOf({ ...troubled, oldestMs: -5 }, 'full', NO_BYTES)).toMatchObject({ oldestMs: 0 });
  });

  test('[S35] counts what is left behind by a batch, and not what goes with it', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    for (const id of ['v', 'w', 'x', 'y']) a.put(id, { n: 1 });
    world.nowMs += 500;
    await a.link.sync();
    expect(a.exchanges.map(({ batch }) => batch.report)).toEqual([{ queue: { normal: 1 }, oldestMs: 500 }, undefined]);
  });
});

describe('how many changes are dead', () => {
  /** Node `a`, one of whose two changes was refused. */
  async function withDeadLetter() {
    const world = new World();
    const a = new Node(world, 'a');
    world.refuse = ({ data }) => data?.['bad'] === true;
    a.put('x', { bad: true });
    a.put('y', { n: 1 });
    await a.link.sync();
    const known = () => world.cloudStore.readNode(a.nodeId)?.report?.dead;
    return { world, a, known, told: () => a.exchanges.map(({ batch }) => batch.report?.dead) };
  }

  test('[S35] is told with one exchange more, once, and is in the row of the node', async () => {
    const { a, known, told } = await withDeadLetter();
    expect(told()).toEqual([undefined, 1]);
    expect(known()).toBe(1);
    expect(a.replica.msUntilUnsent('normal')).toBeNull();
    a.restart();
    expect(a.replica.msUntilUnsent('normal')).toBeNull();
    await a.link.sync();
    expect(told()).toEqual([undefined, 1, 1]);
  });

  test('[S35] is told after a crash before it was, or when that was lost', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    world.refuse = () => true;
    a.put('x', { n: 1 });
    a.beforeCall = () => {
      if (a.replica.queueStats().dead > 0) throw new Error('it crashes');
    };
    await a.link.sync();
    a.restart();
    expect(a.replica.msUntilUnsent('normal')).toBe(0);
    a.beforeCall = () => undefined;
    a.fault = 'request-lost';
    await a.link.sync();
    expect(a.replica.msUntilUnsent('normal')).toBe(0);
    await a.link.sync();
    expect(world.cloudStore.readNode(a.nodeId)?.report?.dead).toBe(1);
    expect(a.replica.msUntilUnsent('normal')).toBeNull();
  });

  test('[S35] is told when one was discarded, or sent again', async () => {
    for (const mend of ['discard', 'retry'] as const) {
      const { world, a, known } = await withDeadLetter();
      world.refuse = () => false;
      const [dead] = a.replica.listQueue('dead', 0, 1).items;
      if (mend === 'discard') a.replica.discardDead(String(dead?.change.id));
      else a.replica.retryDead(String(dead?.change.id));
      expect(a.replica.msUntilUnsent('normal')).toBe(0);
      await a.link.sync();
      expect(known()).toBeUndefined();
      expect(a.replica.msUntilUnsent('normal')).toBeNull();
    }
  });

  test('[S35] is told once more when it changes while it is told', async () => {
    const { a, known, told } = await withDeadLetter();
    const [dead] = a.replica.listQueue('dead', 0, 1).items;
    a.beforeExchange = async () => {
      a.beforeExchange = async () => undefined;
      a.replica.discardDead(String(dead?.change.id));
    };
    await a.link.sync();
    expect(told()).toEqual([undefined, 1, 1, undefined]);
    expect(known()).toBeUndefined();
  });

  test('[S35] is told to a cloud that begins anew', async () => {
    const { world, a, known } = await withDeadLetter();
    world.loseCloud();
    await a.link.sync();
    expect(known()).toBe(1);
  });
});

describe('a report is no part of what a batch does', () => {
  const empty = { sourceNodeId: 'a', targetNodeId: 'cloud', cursor: 0 };
  const written = { ...empty, changes: [], void: [[1, 1]] };

  function cloudAndSession() {
    const world = new World();
    const { sessionId } = world.responder.connect({ nodeId: new Node(world, 'a').nodeId, protocol: 1 });
    const say = (message: object) => world.responder.exchange(sessionId, batchSchema.parse(message), { relay: false });
    return { world, say, node: () => world.cloudStore.readNode(new Node(world, 'a').nodeId) };
  }

  test('[S24] [S35] the same batch with another report, or none, gets the same answer', () => {
    const { say, node } = cloudAndSession();
    for (const content of [written, { ...empty, changes: [] }]) {
      const batchId = JSON.stringify(content).slice(0, 100);
      const first = say({ ...content, batchId, report: { dead: 1 } });
      expect(say({ ...content, batchId, report: { dead: 2 } })).toEqual(first);
      expect(say({ ...content, batchId })).toEqual(first);
      expect(node()?.report).toEqual({ dead: 1 });
    }
  });

  test('[S35] a node that says nothing of itself, or what nobody can read, is served as any other', () => {
    const { say, node } = cloudAndSession();
    for (const report of [undefined, 'fine', { dead: -1 }, { plan: 'none' }, { bytes: [1] }, { queue: { other: 1 } }]) {
      const answer = say({ ...written, batchId: JSON.stringify(report) ?? 'none', report });
      expect(answer).toMatchObject({ results: [], more: false });
      expect(node()?.report).toBeUndefined();
    }
    say({ ...written, batchId: 'later', report: { dead: 1, ofLater: true } });
    expect(node()?.report).toEqual({ dead: 1 });
  });

  test('[S35] a node that only reads costs a row for what is dead, and for nothing else that it says', () => {
    const { say, node } = cloudAndSession();
    const read = (batchId: string, report: object) => say({ ...empty, changes: [], batchId, report });
    read('b1', { queue: { normal: 1 }, oldestMs: 1 });
    expect(node()?.report).toBeUndefined();
    read('b2', { dead: 1 });
    expect(node()?.report).toEqual({ dead: 1 });
    read('b3', { dead: 1, plan: 'critical' });
    expect(node()?.report).toEqual({ dead: 1 });
    read('b4', {});
    expect(node()?.report).toEqual({});
  });
});
