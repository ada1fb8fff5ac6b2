import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { signAccessToken } from '../../scripts/access-token.ts';
import { startServer } from '../../scripts/local-server.ts';
import { CONSISTENCY_LEVELS } from '../../src/core/consistency.ts';
import { checkCausality } from '../history/causality.ts';
import { checkLinearizability } from '../history/linearizability.ts';
import { type Operation, textOf } from '../history/operation.ts';
import { checkStaleness } from '../history/staleness.ts';
import { anyOf, byDecision, byTime } from '../history/version-order.ts';
import { Random } from '../sim/random.ts';
import { type FieldsRead, HistoryClient, type Server } from './history-client.ts';

const SECRET = 'a-secret-for-tests-of-at-least-32-characters';
const SEED = 1;
const REQUESTS = 80;
const NODES = ['a', 'b', 'c', 'd'] as const;
const CLIENTS = 8;
/** Those of them that are known by a name, and carry no token. */
const NAMED = 3;
/** Records that are merged, and of which each field is written once. */
const MERGED = ['user-config/r1', 'user-config/r2', 'user-config/r3', 'user-config/r4'] as const;
/** Those of them that transactions write together. */
const PAIR = MERGED.slice(0, 2);
/** Records of which the later one stays; the first two are only written strongly. */
const STRONG = ['ledger/k1', 'ledger/k2'] as const;
const MIXED = ['mixed/m1', 'mixed/m2'] as const;
/** All clocks are of one machine, in whole milliseconds. */
const TOLERANCE_MS = 2;
const MAX_STEPS = 1_000_000;

test('[I5] [I6] [I7] [I8] [S37] [S38] [S39] [S45] what eight clients see at four nodes, and at fresh ones, over cuts and a kill of the server, is what the levels promise', {
  timeout: 240_000,
}, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-http-'));
  const start = () => startServer({ port: 0, persistTo: folder, secret: SECRET });
  const server: Server = { running: start() };
  onTestFinished(async () => {
    await (await server.running).stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const claims = { space: 'histories', role: 'admin', sub: 'test' } as const;
  const bearer = await signAccessToken(claims, { secret: SECRET, ttlSeconds: 3_600 });
  const call: Call = async (method, target, body) => {
    const init = { method, headers: { Authorization: `Bearer ${bearer}` } };
    const sent = body === undefined ? init : { ...init, body: JSON.stringify(body) };
    return await (await fetch(`${(await server.running).url}/v1/${target}`, sent)).json();
  };
  for (const record of MERGED) await call('PUT', `data/${record}`, {});
  for (const node of NODES) await call('POST', `edge/${node}/sync`);

  let answered = 0;
  const isOver = () => answered === CLIENTS * REQUESTS;
  const cuts: { readonly node: string; readonly fromMs: number; readonly untilMs: number }[] = [];
  const clients = Array.from({ length: CLIENTS }, (_, index) => {
    return new HistoryClient({ name: `c${index}`, isNamed: index < NAMED, bearer, server });
  });
  // A node that is cut off can't know of a session that has never been there.
  for (const client of clients.slice(0, NAMED)) {
    for (const node of NODES) await client.readFields(node, 'session', MERGED[0]);
  }
  const work = clients.map(async (client, index) => {
    const random = new Random(SEED, index);
    let node = random.pick<string>(NODES);
    for (let request = 0; request < REQUESTS; request += 1) {
      const value = `c${index}.${request}`;
      // Most stay where they are, and see what waits there; some come to a node that has never been there.
      if (random.chance(0.4)) node = random.chance(0.1) ? `fresh-${value}` : random.pick(NODES);
      await askSomething(client, random, node, value);
      answered += 1;
    }
  });
  const random = new Random(SEED, CLIENTS);
  let isKilled = false;
  while (!isOver()) {
    const node = random.pick(NODES);
    const fromMs = performance.now();
    // Over a poor link what is written waits, and all can be asked for.
    const isCut = random.chance(0.6);
    await call('PUT', `edge/${node}/network`, isCut ? { online: false } : { effectiveType: '2g' });
    await sleep(random.between(200, 1_500));
    if (!isKilled && answered > (CLIENTS * REQUESTS) / 2) {
      isKilled = true;
      const killed = await server.running;
      killed.kill9();
      server.running = killed.exited.then(start);
    }
    await call('PUT', `edge/${node}/network`, { online: true, effectiveType: null });
    if (isCut) cuts.push({ node, fromMs, untilMs: performance.now() });
    await sleep(random.between(0, 200));
  }
  await Promise.all(work);
  // In the end all is whole, and everyone looks at everything, wherever it may be.
  for (const node of NODES) await call('POST', `edge/${node}/sync`);
  for (const client of clients) {
    for (const record of MERGED) await client.readFields(random.pick(NODES), 'session', record);
    for (const record of [...STRONG, ...MIXED]) await client.read(random.pick(NODES), 'session', record);
  }

  const recorded = clients.flatMap(({ recorded }) => recorded);
  const history = registersOf(recorded).map((operation) => withoutBoundWhereCut(operation, cuts));
  const isOlder = anyOf(byTime(history), byDecision(await decisions(call)));
  const { anomalies, skipped } = checkLinearizability(history, MAX_STEPS);
  const all = [...checkCausality(history, isOlder), ...checkStaleness(history, isOlder, TOLERANCE_MS), ...anomalies];
  expect(all.map(textOf)).toEqual([]);
  expect(skipped).toEqual([]);
  expect(recorded.flatMap(halves(recorded))).toEqual([]);
  const conditional = clients.flatMap((client) => client.conditional.map((done) => JSON.stringify(done)));
  expect(conditional).toHaveLength(new Set(conditional).size);
  const repeated = clients.flatMap((client) => client.repeated);
  for (const [first, second] of repeated) expect(second).toBe(first);
  // A history in which little happens proves little.
  const isAnswered = recorded.filter(({ outcome }) => outcome === 'ok');
  expect(isAnswered.length).toBeGreaterThan((CLIENTS * REQUESTS) / 2);
  expect([...new Set(isAnswered.map(({ level }) => level))].sort()).toEqual([...CONSISTENCY_LEVELS].sort());
  expect(isKilled).toBe(true);
  expect(Math.min(conditional.length, repeated.length)).toBeGreaterThan(5);
  const refusals = new Set(clients.flatMap((client) => client.refusals));
  expect([...refusals].filter((code) => !EXPECTED_REFUSALS.includes(code))).toEqual([]);
});

/** Of nodes that are cut off. */
const EXPECTED_REFUSALS = [
  'cloud_unavailable',
  'causality_timeout',
  'outcome_unknown',
  'quorum_timeout',
  'precondition_failed',
  // Of a fresh node that can't reach the cloud.
  'not_found',
];

/** @param value that nobody else writes. */
async function askSomething(client: HistoryClient, random: Random, node: string, value: string): Promise<void> {
  const level = random.weighted({ strong: 3, eventual: 2, causal: 2, session: 2 });
  const isWrite = random.chance(0.4);
  const kind = random.weighted({ merged: 3, strong: 4, mixed: 1 });
  const again = random.chance(0.2) ? node : undefined;
  const quorum = random.chance(0.3) ? random.between(2, 3) : undefined;
  const maxStalenessMs = level === 'eventual' && quorum === undefined ? random.between(0, 20) : undefined;
  switch (kind) {
    case 'merged': {
      const record = random.pick(MERGED);
      if (isWrite && random.chance(0.3)) await client.writeFields(node, level, PAIR, value);
      else if (isWrite) await client.writeField(node, level, record, value, { again });
      else await client.readFields(node, level, record, { quorum });
      break;
    }
    case 'strong': {
      const record = random.pick(STRONG);
      // By its key a strong write is known at any node.
      const wish = { isConditional: random.chance(0.5), again: again && random.pick(NODES) };
      if (isWrite) await client.write(node, 'strong', record, value, wish);
      else await client.read(node, level, record, { quorum, maxStalenessMs });
      break;
    }
    case 'mixed': {
      const record = random.pick(MIXED);
      if (isWrite) await client.write(node, level, record, value, { again });
      else await client.read(node, level, record, { quorum, maxStalenessMs });
      break;
    }
    default:
      kind satisfies never;
  }
}

/** Of who has seen a part of a transaction, and misses another one: what was read, and what it lacks. */
function halves(recorded: readonly (Operation | FieldsRead)[]) {
  const counts = Map.groupBy(
    recorded.filter((each) => 'value' in each && each.op === 'write'),
    (each) => ('value' in each ? each.value : null),
  );
  const isWhole = (value: string) => (counts.get(value)?.length ?? 0) > 1;
  const seen = new Map<string, Set<string>>();
  return (each: Operation | FieldsRead): { readonly read: FieldsRead; readonly lacks: string[] }[] => {
    if (!('record' in each) || !PAIR.some((record) => record === each.record) || each.outcome !== 'ok') return [];
    const known = seen.get(each.client) ?? new Set();
    seen.set(each.client, known);
    const lacks = each.level === 'eventual' ? [] : [...known].filter((value) => !each.fields.has(value));
    for (const value of each.fields) if (isWhole(value)) known.add(value);
    return lacks.length === 0 ? [] : [{ read: each, lacks }];
  };
}

/** A read of a record of fields is one of each field that was ever written. */
function registersOf(recorded: readonly (Operation | FieldsRead)[]): Operation[] {
  const written = recorded.flatMap((each) => ('record' in each || each.op === 'read' ? [] : [each]));
  return recorded.flatMap((each): Operation | Operation[] => {
    if (!('record' in each)) return each;
    const { record, fields, ...read } = each;
    return written.flatMap(({ key, value }): Operation[] => {
      if (!key.startsWith(`${record}#`)) return [];
      return [{ ...read, key, value: value !== null && fields.has(value) ? value : null }];
    });
  });
}

/** A node that can't reach the cloud serves what it has. */
function withoutBoundWhereCut(
  operation: Operation,
  cuts: readonly { readonly node: string; readonly fromMs: number; readonly untilMs: number }[],
): Operation {
  const { node, startMs, endMs, maxStalenessMs, ...rest } = operation;
  const isCut = cuts.some((cut) => cut.node === node && cut.fromMs < endMs && startMs < cut.untilMs);
  return isCut ? { ...rest, node, startMs, endMs } : operation;
}

/** The loser and the winner of every conflict of two whole records. */
async function decisions(call: Call): Promise<[string, string, string][]> {
  const decided: [string, string, string][] = [];
  for (let after: string | null = ''; after !== null; ) {
    const page = (await call('GET', `conflicts?status=all&limit=1000&after=${after}`)) as Page;
    for (const { entityType, entityId, local, remote, resolution } of page.items) {
      const [loser, winner] = resolution.winner === 'local' ? [remote, local] : [local, remote];
      if (loser.data?.value === undefined || winner.data?.value === undefined) continue;
      decided.push([`${entityType}/${entityId}`, loser.data.value, winner.data.value]);
    }
    after = page.next;
  }
  return decided;
}

type Call = (method: string, target: string, body?: object) => Promise<unknown>;

interface Side {
  readonly data: { readonly value?: string } | null;
}

interface Page {
  readonly items: readonly {
    readonly entityType: string;
    readonly entityId: string;
    readonly local: Side;
    readonly remote: Side;
    readonly resolution: { readonly winner: string };
  }[];
  readonly next: string | null;
}
