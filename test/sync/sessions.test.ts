import { expect, test } from 'vitest';
import { SessionHomes } from '../../src/cloud/session-homes.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { Memos } from '../../src/sync/memos.ts';
import { Sessions } from '../../src/sync/sessions.ts';
import { Node, World } from './world.ts';

/** Nodes whose sessions a cloud moves. */
function began() {
  const world = new World();
  const nodes = ['a', 'b', 'c'].map((name) => new Node(world, name));
  const gates = { leave: async () => undefined as unknown, left: async () => undefined as unknown };
  const homes = (): SessionHomes =>
    new SessionHomes(
      new Memos(world.cloudStore, world.clock),
      world.clock,
      (...seen) => world.sequencer.seenAfter(...seen),
      async (home, name, turn) => {
        await gates.leave();
        const left = sessions.find(({ node }) => node.nodeId === home)?.sessions.leave(name, turn) ?? null;
        await gates.left();
        return left;
      },
    );
  const cloud = { homes: homes() };
  let moves = 0;
  const answered = { adopt: async () => undefined as unknown };
  const sessionsOf = (node: Node): Sessions =>
    new Sessions({
      replica: node.replica,
      memos: new Memos(node.store, world.clock),
      clock: world.clock,
      isOnline: () => node.link.online,
      adopt: async (name) => {
        moves += 1;
        const grant = await cloud.homes.move(name, node.nodeId);
        await answered.adopt();
        return grant;
      },
    });
  const sessions = nodes.map((node) => ({ node, sessions: sessionsOf(node) }));
  const [a, b, c] = sessions;
  if (a === undefined || b === undefined || c === undefined) throw new Error('there are three');
  const loseCloud = () => {
    world.loseCloud();
    cloud.homes = homes();
  };
  /** Nothing of the node survives. */
  const empty = (one: typeof a) => {
    one.node.restartEmpty();
    one.sessions = sessionsOf(one.node);
  };
  const restart = (one: typeof a) => {
    one.node.restart();
    one.sessions = sessionsOf(one.node);
  };
  return { world, a, b, c, restart, gates, answered, moves: () => moves, loseCloud, empty };
}

test('[S38] a session that is called away while it is on its way is not taken to be there', async () => {
  const { a, b, answered, moves } = began();
  await b.sessions.enter('s', 1_000);
  let arrive: () => void = () => undefined;
  const underWay = new Promise<void>((left) => {
    answered.adopt = () => {
      answered.adopt = async () => undefined;
      left();
      return new Promise<void>((resolve) => {
        arrive = resolve;
      });
    };
  });
  const late = a.sessions.enter('s', 1_000);
  await underWay;
  await b.sessions.enter('s', 1_000);
  arrive();
  await late;
  const before = moves();
  await a.sessions.enter('s', 1_000);
  expect(moves()).toBe(before + 1);
});

test('[S38] a session that is wanted by two at once goes to one after the other', async () => {
  const { a, b } = began();
  a.node.put('x', { n: 1 });
  await a.sessions.enter('s', 1_000);
  const [there, back] = await Promise.all([b.sessions.enter('s', 1_000), a.sessions.enter('s', 1_000)]);
  // The second asks the first, which has not got there yet what it brought.
  expect([there, back]).toMatchObject([{ clock: { a: 1 } }, {}]);
  expect(await b.sessions.enter('s', 1_000)).toMatchObject({ clock: { a: 1 } });
});

test('[S38] a node that fails to let a session go keeps it; one that is not used for a day is forgotten', async () => {
  const { world, a, b, gates, moves } = began();
  await a.sessions.enter('s', 1_000);
  gates.leave = async () => {
    throw new Error('it was reset');
  };
  await expect(b.sessions.enter('s', 1_000)).rejects.toMatchObject({ code: 'causality_timeout' });
  await a.sessions.enter('s', 1_000);
  expect(moves()).toBe(2);
  // The cloud hears now and then that it is used.
  world.nowMs += LIMITS.memoMs * 0.6;
  await a.sessions.enter('s', 1_000);
  expect(moves()).toBe(3);
  world.nowMs += LIMITS.memoMs * 0.6;
  await expect(b.sessions.enter('s', 1_000)).rejects.toMatchObject({ code: 'causality_timeout' });
  world.nowMs += LIMITS.memoMs;
  expect((await b.sessions.enter('s', 1_000)).clock).toBeUndefined();
});

test('[S38] [I6] out of reach of the cloud a session begins where it is asked for, and goes on where it was', async () => {
  const { a, b } = began();
  a.node.link.setOnline(false);
  expect(await a.sessions.enter('new', 1_000)).toEqual({});
  a.node.link.setOnline(true);
  await a.sessions.enter('s', 1_000);
  await b.sessions.enter('s', 1_000);
  b.node.link.setOnline(false);
  expect(await b.sessions.enter('s', 1_000)).toMatchObject({ clock: { cloud: 0 } });
  a.node.link.setOnline(false);
  await expect(a.sessions.enter('s', 1_000)).rejects.toMatchObject({ code: 'causality_timeout' });
});

test('[S38] [I6] a session that takes longer to come than its caller waits is not served without it, and is there then', async () => {
  const { world, a, b, answered, moves } = began();
  await a.sessions.enter('s', 1_000);
  a.node.put('x', { n: 1 });
  let arrive: () => void = () => undefined;
  answered.adopt = () =>
    new Promise<void>((resolve) => {
      arrive = resolve;
    });
  world.clock.sleep = (ms, signal) => (ms === 100 ? Promise.resolve() : world.sleep(ms, signal));
  await expect(b.sessions.enter('s', 100)).rejects.toMatchObject({ code: 'causality_timeout' });
  arrive();
  await new Promise(setImmediate);
  const before = moves();
  expect(await b.sessions.enter('s', 100)).toMatchObject({ clock: { a: 1 } });
  expect(moves()).toBe(before);
});

test('[S38] [I6] a session that is wanted by two others at once forgets nothing on the way', async () => {
  const { a, b, c } = began();
  await a.sessions.enter('s', 1_000);
  a.node.put('x', { n: 1 });
  const all = await Promise.all([b, c].map(({ sessions }) => sessions.enter('s', 1_000)));
  expect(all).toMatchObject([{ clock: { a: 1 } }, { clock: { a: 1 } }]);
});

test('[S38] [I6] what a session saw at a node that was emptied since is not forgotten', async () => {
  const { a, b, empty } = began();
  await a.sessions.enter('s', 1_000);
  a.node.put('x', { n: 1 });
  await a.node.link.sync();
  empty(a);
  expect(await b.sessions.enter('s', 1_000)).toMatchObject({ clock: { cloud: 1 } });
});

test('[S38] what nodes wrote is not carried on once the cloud has it', async () => {
  const { a, b, c } = began();
  await a.sessions.enter('s', 1_000);
  a.node.put('x', { n: 1 });
  expect(await b.sessions.enter('s', 1_000)).toMatchObject({ clock: { a: 1, cloud: 0 } });
  await a.node.link.sync();
  expect((await c.sessions.enter('s', 1_000)).clock).toEqual({ cloud: 1 });
});

test('[S38] a session that was let go, which the cloud did not hear, is at its node again, where it costs no call', async () => {
  const { a, b, gates, moves } = began();
  await a.sessions.enter('s', 1_000);
  gates.left = async () => {
    throw new Error('the answer is lost');
  };
  await expect(b.sessions.enter('s', 1_000)).rejects.toMatchObject({ code: 'causality_timeout' });
  await a.sessions.enter('s', 1_000);
  const before = moves();
  await a.sessions.enter('s', 1_000);
  expect(moves()).toBe(before);
});

test('[S38] a session that was used within the day goes on, though the cloud was not told of its use', async () => {
  const { world, a, b } = began();
  await a.sessions.enter('s', 1_000);
  a.node.put('x', { n: 1 });
  world.nowMs += LIMITS.memoMs * 0.49;
  await a.sessions.enter('s', 1_000);
  world.nowMs += LIMITS.memoMs * 0.99;
  expect(await b.sessions.enter('s', 1_000)).toMatchObject({ clock: { a: 1 } });
});

test('[S38] a session is at one node, also after a cloud that forgot where', async () => {
  const { a, b, loseCloud } = began();
  await a.sessions.enter('s', 1_000);
  loseCloud();
  await b.sessions.enter('s', 1_000);
  b.node.put('x', { n: 1 });
  await a.node.link.sync();
  expect(await a.sessions.enter('s', 1_000)).toMatchObject({ clock: { b: 1 } });
});

test('[S38] a session that came back costs no call where it is', async () => {
  const { a, b, moves } = began();
  for (const { sessions } of [a, b, a]) await sessions.enter('s', 1_000);
  const before = moves();
  await a.sessions.enter('s', 1_000);
  expect(moves()).toBe(before);
});

test('[S38] [I6] what a session saw before its last node it goes on to have seen', async () => {
  const { a, b, c } = began();
  await a.sessions.enter('s', 1_000);
  a.node.put('x', { n: 1 });
  for (const { sessions } of [b, c]) await sessions.enter('s', 1_000);
  expect(await b.sessions.enter('s', 1_000)).toMatchObject({ clock: { a: 1 } });
});

test('[S38] a session that began out of reach of the cloud is told to it with the next sync, also by a node that began again', async () => {
  const { a, b, restart } = began();
  a.node.link.setOnline(false);
  await a.sessions.enter('s', 1_000);
  a.node.put('x', { n: 1 });
  restart(a);
  a.node.link.setOnline(true);
  await a.node.link.sync();
  await a.sessions.callBack();
  expect(await b.sessions.enter('s', 1_000)).toMatchObject({ clock: { cloud: 1 } });
});

test('[S38] no more sessions begin out of reach of the cloud than a node remembers to tell of', async () => {
  const { a } = began();
  a.node.link.setOnline(false);
  for (let n = 0; n < LIMITS.untoldSessions; n += 1) await a.sessions.enter(`s${n}`, 1_000);
  await expect(a.sessions.enter('one more', 1_000)).rejects.toMatchObject({ code: 'causality_timeout' });
  expect(await a.sessions.enter('s0', 1_000)).toEqual({});
});

test('[S38] [I6] what is done in the name of a session that was called away meanwhile counts for it', async () => {
  const { a, b } = began();
  await a.sessions.enter('s', 1_000);
  await b.sessions.enter('s', 1_000);
  a.node.put('x', { n: 1 });
  await a.sessions.stay('s', 1_000);
  expect(await b.sessions.enter('s', 1_000)).toMatchObject({ clock: { a: 1 } });
});

test('[S38] an eventual request is served though its session can’t come; it comes when it can', async () => {
  const { world, a, b, gates, moves } = began();
  await a.sessions.enter('s', 1_000);
  gates.leave = async () => {
    throw new Error('it is cut off');
  };
  expect(await b.sessions.enter('s', 1_000, false)).toEqual({});
  b.node.put('x', { n: 1 });
  await b.sessions.stay('s', 1_000);
  await b.sessions.callBack();
  await a.sessions.enter('s', 1_000);
  gates.leave = async () => undefined;
  // It was just called; that it can't come costs the cloud no call with each sync.
  const before = moves();
  await b.sessions.callBack();
  expect(moves()).toBe(before);
  world.nowMs += 30_000;
  await b.sessions.callBack();
  expect(await a.sessions.enter('s', 1_000)).toMatchObject({ clock: { b: 1 } });
});

test('[S38] of the sessions that it let go a node remembers so many', async () => {
  const { a, answered, moves } = began();
  const arrivals: (() => void)[] = [];
  answered.adopt = () => new Promise<void>((resolve) => arrivals.push(resolve));
  const late = a.sessions.enter('s', 1_000);
  await new Promise(setImmediate);
  a.sessions.leave('s', 1);
  for (let n = 0; n < LIMITS.endedSessions; n += 1) a.sessions.leave(`s${n}`, 1);
  for (const arrive of arrivals) arrive();
  await late;
  answered.adopt = async () => undefined;
  const before = moves();
  await a.sessions.enter('s', 1_000);
  expect(moves()).toBe(before);
});

test('[S38] [I6] what a session was shown that its node has not got it has seen: after a move, and after a long time', async () => {
  const { world, a, b } = began();
  await a.sessions.enter('s', 1_000);
  a.sessions.saw('s', { clock: { c: 7 } });
  world.nowMs += LIMITS.memoMs * 0.6;
  expect(await a.sessions.enter('s', 1_000)).toMatchObject({ clock: { c: 7 } });
  expect(await b.sessions.enter('s', 1_000)).toMatchObject({ clock: { c: 7 } });
});

test('[S38] [I6] a session that was used here while it could not come is asked for by the next request that can', async () => {
  const { a, b } = began();
  b.node.link.setOnline(false);
  await b.sessions.enter('s', 1_000);
  await a.sessions.enter('s', 1_000);
  a.node.put('x', { n: 1 });
  b.node.link.setOnline(true);
  // It is at home here, as far as is known here; and was not told of.
  expect(await b.sessions.enter('s', 1_000)).toMatchObject({ clock: { a: 1 } });
});
