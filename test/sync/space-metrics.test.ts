import { describe, expect, test } from 'vitest';
import { exposition } from '../../src/protocol/exposition.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import type { BatchAnswer, NodeReport } from '../../src/protocol/messages.ts';
import { NodeRegistry } from '../../src/sync/node-registry.ts';
import { SpaceMetrics } from '../../src/sync/space-metrics.ts';
import { nodeId, World } from './world.ts';

function measured() {
  const world = new World();
  const registry = new NodeRegistry({
    store: world.cloudStore,
    clock: world.clock,
    head: () => 7,
    isLive: () => false,
  });
  const metrics = new SpaceMetrics(5_000);
  const now = { head: 7, registry, openConflicts: 2, d1: { lagMs: 1_500, lag: 3 } };
  const value = (series: string) => {
    const line = exposition(metrics.families(now))
      .split('\n')
      .find((text) => text.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  };
  const text = () => exposition(metrics.families(now));
  /** A node of that name has said how it is. */
  const hears = (name: string, report: NodeReport, cursor = 7) => {
    const id = nodeId(name);
    if (world.cloudStore.readNode(id) === undefined) world.responder.connect({ nodeId: id, protocol: 1 });
    const before = registry.condition(id);
    return { before, after: registry.heard({ sourceNodeId: id, pending: 0, report }, { cursor }) };
  };
  return { world, metrics, value, text, hears };
}

function answered(statuses: readonly BatchAnswer['results'][number]['status'][], digest?: string): BatchAnswer {
  const results = statuses.map((status, index) => ({ id: `a:${index + 1}`, status }));
  const rest = { batchId: 'b', changes: [], cursor: 0, more: false, vectorClock: {}, serverTime: 0 };
  return { ...rest, results, ...(digest === undefined ? {} : { digest }) };
}

test('[S36] all of it can be read before anything has happened', () => {
  const { text, value } = measured();
  expect(value('causeway_head')).toBe(7);
  expect(value('causeway_exchanges_total{result="ok"}')).toBe(0);
  expect(value('causeway_changes_total{status="rejected"}')).toBe(0);
  expect(value('causeway_conflicts_open')).toBe(2);
  expect(value('causeway_d1_lag_seconds')).toBe(1.5);
  expect(value('causeway_d1_lag_changes')).toBe(3);
  expect(value('causeway_started_seconds')).toBe(5);
  expect(value('causeway_exchange_duration_seconds_bucket{le="+Inf"}')).toBe(0);
  const lines = text().trimEnd().split('\n');
  const sample = /^causeway_[a-z0-9_]+(\{[a-z]+="[^"\\\n]*"(,[a-z]+="[^"\\\n]*")*\})? (\d[\d.e+-]*)$/;
  for (const line of lines) expect(line).toMatch(line.startsWith('# ') ? /^# (HELP|TYPE) causeway_\w+ \S/ : sample);
  const names = lines.filter((line) => line.startsWith('# TYPE')).map((line) => line.split(' ')[2]);
  expect(new Set(names).size).toBe(names.length);
});

test('[S36] changes are counted by what they were answered, and exchanges by how they ended', () => {
  const { metrics, value, hears } = measured();
  const { before, after } = hears('a', {});
  metrics.answered(answered(['applied', 'applied', 'rejected'], 'd'), before, after);
  metrics.answered(answered(['duplicate']), before, after);
  metrics.exchanged('ok');
  metrics.exchanged('batch_reused');
  expect(value('causeway_changes_total{status="applied"}')).toBe(2);
  expect(value('causeway_changes_total{status="rejected"}')).toBe(1);
  expect(value('causeway_changes_total{status="duplicate"}')).toBe(1);
  expect(value('causeway_exchanges_total{result="ok"}')).toBe(1);
  expect(value('causeway_exchanges_total{result="batch_reused"}')).toBe(1);
  expect(value('causeway_digests_compared_total')).toBe(1);
});

test('[S36] of what nodes count the growth is added up, also where a node has begun again', () => {
  const { metrics, value, hears } = measured();
  const says = (name: string, report: NodeReport) => {
    const { before, after } = hears(name, report);
    metrics.answered(answered([]), before, after);
  };
  says('a', { bytes: [10, 20, 30, 40], digestMismatches: 1 });
  says('a', { bytes: [11, 22, 33, 44], digestMismatches: 1 });
  says('b', { bytes: [100, 200, 300, 400] });
  says('a', { bytes: [1, 2, 3, 4], digestMismatches: 2 });
  expect(value('causeway_bytes_total{direction="up",form="wire"}')).toBe(112);
  expect(value('causeway_bytes_total{direction="down",form="wire"}')).toBe(224);
  expect(value('causeway_bytes_total{direction="up",form="plain"}')).toBe(336);
  expect(value('causeway_bytes_total{direction="down",form="plain"}')).toBe(448);
  expect(value('causeway_digests_mismatched_total')).toBe(2);
});

test('[S36] what takes time is in each bucket that it is not too long for', () => {
  const { metrics, value } = measured();
  for (const ms of [0, 5, 7, 300, 60_000, -1]) metrics.took('exchange', ms);
  metrics.took('strong write', 1_000);
  const bucket = (le: string) => value(`causeway_exchange_duration_seconds_bucket{le="${le}"}`);
  expect(['0.005', '0.01', '0.25', '0.5', '10', '+Inf'].map(bucket)).toEqual([3, 4, 4, 5, 5, 6]);
  expect(value('causeway_exchange_duration_seconds_count')).toBe(6);
  expect(value('causeway_exchange_duration_seconds_sum')).toBeCloseTo(60.312);
  expect(value('causeway_strong_write_duration_seconds_count')).toBe(1);
});

describe('of nodes', () => {
  test('[S36] there are totals, and a series of each', () => {
    const { value, hears } = measured();
    hears('a', { queue: { critical: 1, normal: 2 }, oldestMs: 4_000, dead: 1 }, 5);
    hears('b', { queue: { normal: 1 }, oldestMs: 1_000, dead: 2 });
    expect(value('causeway_nodes{state="syncing"}')).toBe(1);
    expect(value('causeway_nodes{state="idle"}')).toBe(1);
    expect(value('causeway_nodes{state="offline"}')).toBe(0);
    expect(value('causeway_lag_max')).toBe(2);
    expect(value('causeway_dead_letters')).toBe(3);
    expect(value('causeway_queue_changes{priority="normal"}')).toBe(3);
    expect(value('causeway_queue_changes{priority="critical"}')).toBe(1);
    expect(value('causeway_queue_oldest_seconds')).toBe(4);
    expect(value('causeway_node_lag{node="a"}')).toBe(2);
    expect(value('causeway_node_online{node="b"}')).toBe(1);
    expect(value('causeway_node_dead_letters{node="b"}')).toBe(2);
    expect(value('causeway_node_queue_changes{node="a",priority="normal"}')).toBe(2);
    expect(value('causeway_node_queue_oldest_seconds{node="a"}')).toBe(4);
  });

  test('[I10] [S36] there are series of so many, of those with the most dead changes first, and then of those behind', () => {
    const { text, value, hears } = measured();
    for (let index = 0; index < LIMITS.metricNodes; index += 1) hears(`n${index}`, {}, 6);
    hears('y-behind', {}, 0);
    hears('z-dead', { dead: 1 });
    const shown = text().match(/^causeway_node_lag\{/gm) ?? [];
    expect(shown).toHaveLength(LIMITS.metricNodes);
    expect(value('causeway_node_lag{node="y-behind"}')).toBe(7);
    expect(value('causeway_node_dead_letters{node="z-dead"}')).toBe(1);
    expect(value('causeway_nodes{state="syncing"}')).toBe(LIMITS.metricNodes + 1);
    expect(value('causeway_dead_letters')).toBe(1);
  });
});
