import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { LIMITS } from '../../src/protocol/limits.ts';
import { CloudSpace, type EdgeNode } from '../../src/worker.ts';
import { knock, listen, subscribed } from './live.ts';
import { entityOf, freshSpace, stopClock } from './space.ts';

const LIVE = 'edge/a/live';
const note = (id: string) => entityOf('note', id);
const put = (id: string, data = {}) => ({ ...note(id), kind: 'put', data }) as const;
const uploaded = (summary: unknown) => (summary as { uploaded: number } | null)?.uploaded;
const AWAY = { ok: false, code: 'cloud_unavailable', detail: 'the cloud is away', details: {} } as const;
const LOCAL = { level: 'eventual', after: {}, waitMs: 0 } as const;

describe('a live socket', () => {
  test('[S25] says first how the node is, and then each change of the types that were asked for, as they are written', async () => {
    const { space, call } = freshSpace();
    const socket = await listen(space, LIVE);
    socket.say({ type: 'subscribe', entityTypes: ['note'] });
    expect(await socket.next('status')).toMatchObject({ nodeId: 'a', state: 'idle', queue: { total: 0 } });
    await call('PUT', 'edge/a/data/other/x', { body: {} });
    await call('PUT', 'edge/a/data/note/x', { body: { n: 1 } });
    await call('PUT', 'edge/a/data/note/x', { body: { n: 2 } });
    await call('DELETE', 'edge/a/data/note/x');
    const told = { type: 'change', entityType: 'note', entityId: 'x' };
    expect(await socket.next('change')).toEqual({ ...told, operation: 'create', data: { n: 1 }, version: 'a:2' });
    expect(await socket.next('change')).toEqual({ ...told, operation: 'update', data: { n: 2 }, version: 'a:3' });
    expect(await socket.next('change')).toEqual({ ...told, operation: 'delete', version: 'a:4' });
  });

  test('tells what a pull brings', async () => {
    const { space, edge } = freshSpace();
    const socket = await subscribed(space, LIVE);
    await edge('b').write(put('x', { n: 1 }), {}, 0);
    await edge('b').sync();
    await edge('a').sync();
    expect(await socket.next('change')).toMatchObject({ operation: 'create', entityId: 'x', version: 'b:1' });
  });

  test('a subscription replaces the one before; without types it is of all that the token may read', async () => {
    const { space, edge } = freshSpace();
    const claims = { role: 'client', types: { read: ['note', 'task'] } };
    const socket = await subscribed(space, LIVE, { claims, entityTypes: ['note'] });
    const write = (type: string) => edge('a').write({ ...put('x'), ...entityOf(type, 'x') }, {}, 0);
    await write('task');
    await write('secret');
    socket.say({ type: 'subscribe', entityTypes: [] });
    await socket.next('status');
    await write('secret');
    await write('task');
    expect(await socket.next('change')).toMatchObject({ entityType: 'task', operation: 'update' });
  });

  test.each([
    [{ type: 'subscribe', entityTypes: ['note', 'secret'] }, 'forbidden', 4403],
    [{ type: 'subscribe', entityTypes: ['_'] }, 'bad_name', 4400],
    [{ type: 'subscribe', entityTypes: 'note' }, 'bad_request', 4400],
    [{ type: 'subscribe', entityTypes: Array(LIMITS.filterTypes + 1).fill('note') }, 'bad_request', 4400],
    [{ type: 'change' }, 'bad_request', 4400],
    ['[]', 'bad_request', 4400],
    ['{', 'bad_json', 4400],
    [new Uint8Array([255, 0]), 'bad_json', 4400],
  ] as const)(
    '[S25] %j can not be subscribed to: an error tells why, and ends the socket',
    async (message, code, closed) => {
      const { space, edge } = freshSpace();
      const claims = { role: 'client', types: { read: ['note'] } };
      const [socket, other] = [
        await subscribed(space, LIVE, { claims, entityTypes: ['note'] }),
        await subscribed(space, LIVE),
      ];
      socket.say(message);
      expect(await socket.next('error')).toEqual({ type: 'error', code, detail: expect.any(String) });
      expect(await socket.closed()).toEqual({ code: closed, reason: code });
      await edge('a').write(put('x'), {}, 0);
      expect(await other.next('change')).toMatchObject({ entityId: 'x' });
    },
  );

  test('shows the states of a whole sync as it happens, what waits, and what came of it', async () => {
    const { space, call, edge } = freshSpace();
    const socket = await subscribed(space, LIVE);
    await edge('a').setNetwork({ effectiveType: '3g' });
    await call('PUT', 'edge/a/data/note/x', { body: {} });
    await socket.until('status', ({ queue }) => (queue as { pending: number }).pending === 1);
    await call('POST', 'edge/a/sync');
    const statuses = await socket.until('status', ({ lastSyncResult }) => uploaded(lastSyncResult) === 1);
    const states = statuses.map(({ state }) => state);
    expect(states.filter((state, index) => state !== states[index - 1])).toEqual([
      'connecting',
      'handshake',
      'syncing',
      'finalizing',
      'idle',
    ]);
    // What came of it is told with the end.
    expect(statuses.filter(({ state }) => state === 'idle')).toHaveLength(1);
    expect(statuses.filter(({ state }) => state === 'syncing').at(-1)).toMatchObject({ queue: { syncing: 1 } });
    expect(statuses.at(-1)).toMatchObject({ state: 'idle', queue: { total: 0 }, lastSyncResult: { uploaded: 1 } });
    const { json } = await call('GET', 'edge/a/status');
    expect({ ...statuses.at(-1), stalenessMs: 0 }).toEqual({ type: 'status', ...json, stalenessMs: 0 });
  });

  test('shows of a long sync how far it has come', async () => {
    const { space, edgeObject } = freshSpace();
    const socket = await subscribed(space, LIVE);
    // In one turn: a status of each write would use up the room for those of the sync.
    await runInDurableObject(edgeObject('a'), async (node: EdgeNode) => {
      await node.setNetwork({ online: false });
      await Promise.all(Array.from({ length: 250 }, (_, index) => node.write(put(`e${index}`), {}, 0)));
      await node.setNetwork({ online: true });
    });
    const statuses = await socket.until('status', ({ lastSyncResult }) => uploaded(lastSyncResult) === 250);
    const left = statuses
      .filter(({ state }) => state === 'syncing')
      .map(({ queue }) => (queue as { total: number }).total);
    expect(left).toEqual(expect.arrayContaining([250, 150, 50]));
  });

  test('shows that a node is cut off, and its plan', async () => {
    const { space, edge } = freshSpace();
    const socket = await subscribed(space, LIVE);
    await edge('a').setNetwork({ effectiveType: '2g' });
    await socket.until('status', ({ plan }) => (plan as { strategy: string }).strategy === 'critical');
    await edge('a').setNetwork({ online: false });
    await socket.until('status', ({ state, online }) => state === 'offline' && online === false);
  });

  test('[S33] shows that a node without a link queues', async () => {
    const { space, edge } = freshSpace();
    const socket = await subscribed(space, LIVE);
    await edge('a').setNetwork({ online: false });
    await edge('a').write(put('x'), {}, 0);
    await socket.until(
      'status',
      ({ state, queue }) => state === 'queuing' && (queue as { pending: number }).pending === 1,
    );
    expect(await socket.next('status')).toMatchObject({ state: 'offline', queue: { pending: 1 } });
  });

  test('[S25] shows a plan that a caller’s hints change, one who opens a socket among them', async () => {
    const { space, call } = freshSpace();
    const socket = await subscribed(space, LIVE);
    const planned = (strategy: string) =>
      socket.until('status', ({ plan }) => (plan as { strategy: string }).strategy === strategy);
    await listen(space, LIVE, { headers: { ECT: '3g' } });
    await planned('priority');
    await call('GET', 'edge/a/status', { headers: { 'Save-Data': 'on' } });
    await planned('critical');
  });

  test('[S25] shows tries that failed before the sync has ended, and that a refused token pauses the node', async () => {
    const { space, edge } = freshSpace();
    const socket = await subscribed(space, LIVE);
    const refuse = (code: 'internal' | 'unauthenticated') => ({ ok: false, code, detail: 'no', details: {} }) as const;
    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    onTestFinished(() => void vi.restoreAllMocks());
    const { syncExchange } = CloudSpace.prototype;
    const exchange = vi.spyOn(CloudSpace.prototype, 'syncExchange');
    exchange.mockImplementation(async function (this: CloudSpace, ...call) {
      const { changes } = JSON.parse(call[1]) as { changes: unknown[] };
      return changes.length > 0 ? refuse('internal') : await syncExchange.apply(this, call);
    });
    await edge('a').write(put('x'), {}, 0);
    const tried = await socket.until('status', ({ queue }) => (queue as { failed: number }).failed === 1);
    expect(tried.at(-1)?.['state']).not.toBe('idle');
    await socket.until('status', ({ state }) => state === 'idle');
    exchange.mockResolvedValue(refuse('unauthenticated'));
    await edge('a').sync();
    const paused = await socket.until('status', ({ paused }) => paused !== null);
    expect(paused.at(-1)).toMatchObject({ paused: 'needs-auth', lastSyncResult: { success: false } });
  });

  test('[S25] of a burst of writes in one turn every change is told, and one status', async () => {
    const { space, edgeObject } = freshSpace();
    const socket = await subscribed(space, LIVE);
    await runInDurableObject(edgeObject('a'), async (node: EdgeNode) => {
      await node.setNetwork({ online: false });
      await Promise.all(Array.from({ length: 1_000 }, (_, index) => node.write(put(`e${index}`), {}, 0)));
    });
    const statuses = await socket.until('status', ({ queue }) => (queue as { total: number }).total === 1_000);
    expect(statuses.length).toBeLessThanOrEqual(3);
  });

  test('[I1] outlives the sleep of its object, with its subscription', async () => {
    const { space, edge, edgeObject } = freshSpace();
    const socket = await subscribed(space, LIVE, { entityTypes: ['note'] });
    await edge('a').setNetwork({ online: false });
    await evictDurableObject(edgeObject('a'));
    await edge('a').write({ ...put('x'), ...entityOf('other', 'x') }, {}, 0);
    await edge('a').write(put('x'), {}, 0);
    expect(await socket.next('change')).toMatchObject({ entityType: 'note', version: 'a:2' });
    await evictDurableObject(edgeObject('a'));
    socket.say({ type: 'subscribe', entityTypes: ['other'] });
    expect(await socket.next('status')).toMatchObject({ queue: { total: 2 } });
  });

  test('[S25] shows that conflicts are resolved, and each dead change as soon as it is one', async () => {
    const { space, edge } = freshSpace();
    await edge('b').write(put('x', { by: 'b' }), {}, 0);
    await edge('b').sync();
    await edge('a').setNetwork({ online: false });
    const socket = await listen(space, LIVE);
    socket.say({ type: 'subscribe' });
    await edge('a').write(put('x', { by: 'a' }), {}, 0);
    await edge('a').setNetwork({ online: true });
    const statuses = await socket.until('status', ({ lastSyncResult }) => uploaded(lastSyncResult) === 1);
    const states = statuses.map(({ state }) => state);
    expect(states.filter((state, index) => state !== states[index - 1]).slice(-7)).toEqual([
      'offline',
      'connecting',
      'handshake',
      'syncing',
      'resolving',
      'finalizing',
      'idle',
    ]);
    vi.spyOn(CloudSpace.prototype, 'syncExchange').mockImplementation(async (_, text) => {
      const { batchId, cursor, changes } = JSON.parse(text) as { batchId: string; cursor: number; changes: object[] };
      const results = changes.map((change) => ({ ...change, status: 'rejected', code: 'invalid_data', detail: 'no' }));
      const answer = { batchId, results, changes: [], cursor, more: false, vectorClock: {}, serverTime: Date.now() };
      return { ok: true, value: JSON.stringify(answer) };
    });
    onTestFinished(() => void vi.restoreAllMocks());
    await edge('a').write(put('y'), {}, 0);
    await edge('a').sync();
    await socket.until('change', ({ operation, entityId }) => operation === 'delete' && entityId === 'y');
    const untilDead = await socket.until('status', ({ queue }) => (queue as { dead: number }).dead === 1);
    // Before the sync has ended.
    expect(untilDead.at(-1)?.['state']).not.toBe('idle');
  });

  test('[S26] costs its node nothing while there is no news: no alarm; a poke wakes it, and it tells', async () => {
    const { space, edge, edgeObject, cloudObject, alarmOf } = freshSpace();
    const { pass } = stopClock();
    // So that what it writes goes together.
    await edge('b').setNetwork({ effectiveType: '3g' });
    const socket = await subscribed(space, LIVE, { claims: { role: 'client', types: { read: ['note'] } } });
    expect(await alarmOf('a')).toBeNull();
    for (const n of [1, 2]) {
      await evictDurableObject(edgeObject('a'));
      await evictDurableObject(cloudObject());
      pass(3_600_000);
      await edge('b').write({ ...put('x'), ...entityOf('secret', 'x') }, {}, 0);
      await edge('b').write(put('x', { n }), {}, 0);
      await edge('b').sync();
      expect(await socket.next('change')).toMatchObject({ entityType: 'note', entityId: 'x', data: { n } });
      const told = await socket.until('status', ({ lastSyncResult }) => lastSyncResult !== null);
      expect(told.at(-1)).toMatchObject({ state: 'idle', cursor: 2 * n, lastSyncResult: { downloaded: 2 } });
      expect(await alarmOf('a')).toBeNull();
    }
  });

  test('[I11] whose first sync fails is not forgotten: its node tries again until the cloud knows of it', async () => {
    const { space, edge, edgeObject, alarmOf } = freshSpace();
    const { pass } = stopClock();
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    onTestFinished(() => void vi.restoreAllMocks());
    const exchange = vi.spyOn(CloudSpace.prototype, 'syncExchange').mockResolvedValue(AWAY);
    const socket = await listen(space, LIVE);
    socket.say({ type: 'subscribe' });
    await socket.until('status', ({ nextAttemptAt }) => nextAttemptAt !== null);
    expect(await alarmOf('a')).toBe(Date.now() + 1_000);
    exchange.mockRestore();
    await evictDurableObject(edgeObject('a'));
    pass(1_000);
    await runDurableObjectAlarm(edgeObject('a'));
    expect(await alarmOf('a')).toBeNull();
    await edge('b').write(put('x'), {}, 0);
    await edge('b').sync();
    expect(await socket.next('change')).toMatchObject({ entityId: 'x' });
  });

  test('[S25] a ping is answered, on either kind of socket, and wakes nobody', async () => {
    const { space, edgeObject } = freshSpace();
    const sockets = [await listen(space, LIVE), await listen(space, 'edge/a/sync/live?node=below')];
    await evictDurableObject(edgeObject('a'));
    for (const socket of sockets) {
      socket.say('{"type":"ping"}');
      expect(await socket.next('pong')).toEqual({ type: 'pong' });
    }
    await expect(evictDurableObject(edgeObject('a'))).rejects.toThrow('not currently running');
  });

  test('[S26] when nobody listens any more, the cloud hears of it with the pull after the next poke', async () => {
    const { space, edge, edgeObject, cloudObject } = freshSpace();
    const { pass } = stopClock();
    const isLive = () => runInDurableObject(cloudObject(), (_, { storage }) => storage.kv.get('live/a') !== undefined);
    const socket = await subscribed(space, LIVE);
    pass(60_000);
    await edge('b').write(put('x', { n: 1 }), {}, 0);
    await edge('b').sync();
    await socket.until('status', ({ cursor, state }) => cursor === 1 && state === 'idle');
    expect(await isLive()).toBe(true);
    socket.close();
    await vi.waitFor(async () => {
      expect(await runInDurableObject(edgeObject('a'), (_, state) => state.getWebSockets().length)).toBe(0);
    });
    expect(await isLive()).toBe(true);
    await edge('b').write(put('x', { n: 2 }), {}, 0);
    await edge('b').sync();
    await vi.waitFor(async () => expect(await isLive()).toBe(false));
  });
});

describe('[I9] who may listen', () => {
  test('a token comes in a header or as a subprotocol, and never comes back', async () => {
    const { space } = freshSpace();
    for (const by of ['header', 'subprotocol'] as const) {
      for (const claims of [{ role: 'client' }, { role: 'node', node: 'a' }, { role: 'admin' }]) {
        const answer = await knock(space, LIVE, { by, claims });
        expect(answer.status).toBe(101);
        expect(answer.headers.get('Sec-WebSocket-Protocol')).toBe('causeway.v1');
        answer.webSocket?.accept();
        answer.webSocket?.close();
      }
    }
  });

  test.each([
    ['without a token', { headers: { Authorization: '' } }, 401, 'unauthenticated'],
    ['a token that has expired', { claims: { exp: 1 } }, 401, 'unauthenticated'],
    ['one that has, as a subprotocol', { claims: { exp: 1 }, by: 'subprotocol' }, 401, 'unauthenticated'],
    ['a token of another node', { claims: { role: 'node', node: 'b' } }, 403, 'forbidden'],
    ['without our subprotocol', { headers: { 'Sec-WebSocket-Protocol': 'chat' } }, 426, 'protocol_unsupported'],
    ['no WebSocket', { headers: { Upgrade: '' } }, 426, 'protocol_unsupported'],
    [
      'more types than can be kept',
      { claims: { types: { read: Array(1_000).fill('a'.repeat(20)) } } },
      413,
      'too_large',
    ],
  ] as const)('%s is refused', async (_, sent, status, code) => {
    const answer = await knock(freshSpace().space, LIVE, sent as never);
    expect(answer.status).toBe(status);
    expect(await answer.json()).toMatchObject({ code });
  });

  test('a token in a subprotocol is for sockets only', async () => {
    const answer = await knock(freshSpace().space, 'edge/a/status', { by: 'subprotocol', headers: { Upgrade: '' } });
    expect(answer.status).toBe(401);
  });

  test('two spaces with the same ids never hear of each other', async () => {
    const [one, other] = [freshSpace(), freshSpace()];
    const socket = await subscribed(one.space, LIVE);
    await other.edge('a').write(put('x', { of: 'other' }), {}, 0);
    await other.edge('a').sync();
    await one.edge('a').write(put('x', { of: 'one' }), {}, 0);
    expect(await socket.next('change')).toMatchObject({ operation: 'create', data: { of: 'one' } });
  });

  test('a token that runs out ends its socket: with the next message, and before anything more is sent', async () => {
    const { space, edge, edgeObject } = freshSpace();
    const { pass } = stopClock();
    const claims = { exp: Math.floor(Date.now() / 1000) + 60 };
    const [speaker, hearer] = [await subscribed(space, LIVE, { claims }), await subscribed(space, LIVE, { claims })];
    await evictDurableObject(edgeObject('a'));
    await edge('a').status();
    pass(60_000);
    speaker.say({ type: 'subscribe' });
    expect(await speaker.next('error')).toEqual({
      type: 'error',
      code: 'unauthenticated',
      detail: 'the token has expired',
    });
    expect(await speaker.closed()).toEqual({ code: 4401, reason: 'unauthenticated' });
    await edge('a').write(put('x'), {}, 0);
    expect(await hearer.closed()).toMatchObject({ code: 4401 });
    await expect(hearer.next('change')).rejects.toThrow('4401');
  });
});

describe('[I10] bounds of a live socket', () => {
  test('a message that is too large ends it, 4413', async () => {
    const { space } = freshSpace();
    for (const message of ['x'.repeat(LIMITS.liveMessageBytes + 1), new Uint8Array(LIMITS.liveMessageBytes + 1)]) {
      const socket = await listen(space, LIVE);
      socket.say(message);
      expect(await socket.closed()).toMatchObject({ code: 4413, reason: 'too_large' });
    }
  });

  test('more messages in a second than may be end it, 4429; as many, second after second, do not', async () => {
    const { space, edge } = freshSpace();
    const { pass } = stopClock();
    const socket = await listen(space, LIVE);
    for (let second = 0; second < 3; second += 1) {
      for (let index = 0; index < LIMITS.liveMessagesPerSecond; index += 1) {
        socket.say({ type: 'subscribe' });
        await socket.next('status');
      }
      pass(1_000);
    }
    for (let index = 0; index <= LIMITS.liveMessagesPerSecond; index += 1) socket.say({ type: 'subscribe' });
    expect(await socket.closed()).toMatchObject({ code: 4429, reason: 'rate_limited' });
    expect((await edge('a').write(put('x'), {}, 0)).result.ok).toBe(true);
  });

  test('one that is sent more than it can take is dropped, 4503', async () => {
    const { space, edge, edgeObject } = freshSpace();
    stopClock();
    const socket = await subscribed(space, LIVE);
    await runInDurableObject(edgeObject('a'), async (node: EdgeNode) => {
      await node.setNetwork({ online: false });
      const text = 'x'.repeat(250_000);
      for (let index = 0; index < 40; index += 1) await node.write(put(`e${index}`, { text }), {}, 0);
    });
    expect(await socket.closed()).toMatchObject({ code: 4503 });
    expect((await edge('a').read(note('e39'), LOCAL)).result).toMatchObject({ value: { record: {} } });
  });

  test('what all sockets together are sent has a bound too: beyond it they are dropped, 4503', async () => {
    const { space, edgeObject } = freshSpace();
    stopClock();
    const sockets = await Promise.all(Array.from({ length: 5 }, () => subscribed(space, LIVE)));
    await runInDurableObject(edgeObject('a'), async (node: EdgeNode) => {
      await node.setNetwork({ online: false });
      const text = 'x'.repeat(250_000);
      // Less than one socket may be sent.
      for (let index = 0; index < 30; index += 1) await node.write(put(`e${index}`, { text }), {}, 0);
    });
    for (const socket of sockets) {
      await socket.until('change', ({ entityId }) => entityId === 'e20');
      expect(await socket.closed()).toMatchObject({ code: 4503 });
    }
  });

  test('a node has so many sockets, and no more; one that ends makes room', async () => {
    const { space, edgeObject } = freshSpace();
    const first = await listen(space, LIVE);
    await runInDurableObject(edgeObject('a'), async (node: EdgeNode) => {
      const { liveRequest } = await import('../../src/transport/live-upgrade.ts');
      const request = () => liveRequest('feed', { node: 'a' as never, expiresAtMs: null, readTypes: null });
      for (let index = 1; index < LIMITS.liveSockets; index += 1) {
        const { status, webSocket } = await node.fetch(request());
        expect(status).toBe(101);
        webSocket?.accept();
      }
    });
    const refused = await knock(space, LIVE);
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ code: 'overloaded', retryAfterMs: 30_000 });
    first.close();
    await vi.waitFor(async () => {
      const answer = await knock(space, LIVE);
      expect(answer.status).toBe(101);
      answer.webSocket?.accept();
    });
  });
});
