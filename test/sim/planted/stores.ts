import { EMPTY_DOT_SET, union } from '../../../src/core/dot-set.ts';
import type { Mark } from '../../../src/core/entity.ts';
import type { Stamp } from '../../../src/core/hlc.ts';
import { marksOf } from '../../../src/core/marks.ts';
import type { CloudStore, ReplicaStore } from '../../../src/sync/ports.ts';
import { overriding } from './overriding.ts';

/** Stores that keep less than they promise. */

/** The cloud forgets what it has received, and so what it has answered. */
export function withoutDedupe(disk: CloudStore): CloudStore {
  return overriding(disk, {
    readNode: (nodeId) => {
      const node = disk.readNode(nodeId);
      return node && { ...node, received: EMPTY_DOT_SET, hashes: [], answers: [] };
    },
    writeNode: (node) => {
      const known = disk.readNode(node.nodeId)?.received ?? EMPTY_DOT_SET;
      disk.writeNode({ ...node, received: union(known, node.received) });
    },
  });
}

/** The cloud hears how a node is, and forgets it when it ends. */
export function withoutReports(disk: CloudStore): CloudStore {
  return overriding(disk, { writeNode: (node) => disk.writeNode({ ...node, report: undefined }) });
}

/** Every version looks older than any change: whoever comes last wins. */
export function withoutStamps(disk: CloudStore): CloudStore {
  return overriding(disk, {
    readEntity: (key) => {
      const entity = disk.readEntity(key);
      return entity && { ...entity, stamp: OLDEST };
    },
  });
}

/** Every field looks older than any change: of two that set one, whoever comes last wins. */
export function withoutFieldStamps(disk: CloudStore): CloudStore {
  return withMarks(disk, (mark) => ({ ...mark, stamp: OLDEST }));
}

/** Every field looks as old as the history, so that all have seen it. */
export function withFieldsSeenByAll(disk: CloudStore): CloudStore {
  return withMarks(disk, (mark) => ({ ...mark, dot: 'cloud:1' }));
}

function withMarks(disk: CloudStore, change: <One extends Mark>(mark: One) => One): CloudStore {
  return overriding(disk, {
    readEntity: (key) => {
      const entity = disk.readEntity(key);
      if (entity === undefined) return undefined;
      const { whole, paths } = marksOf(entity);
      return { ...entity, marks: { whole: change(whole), paths: paths.map(change) } };
    },
  });
}

/** A deleted entity is as one that never was. */
export function withoutTombstones(disk: CloudStore): CloudStore {
  return overriding(disk, {
    readEntity: (key) => {
      const entity = disk.readEntity(key);
      return entity?.data === null ? undefined : entity;
    },
  });
}

/** A write is acknowledged, and reaches the disk with the next one. */
export function acknowledgingEarly(disk: ReplicaStore): ReplicaStore {
  const late = new WriteBehind();
  return overriding(disk, {
    transaction: (body) => disk.transaction(() => late.flushBefore(body)),
    writeQueued: (queued) => late.add(() => disk.writeQueued(queued)),
  });
}

/** The cursor reaches the disk, and the records that it speaks of with the next transaction. */
export function storingCursorFirst(disk: ReplicaStore): ReplicaStore {
  const late = new WriteBehind();
  return overriding(disk, {
    transaction: (body) => disk.transaction(() => late.flushBefore(body)),
    writeRecord: (record) => late.add(() => disk.writeRecord(record)),
    removeRecord: (key) => late.add(() => disk.removeRecord(key)),
  });
}

class WriteBehind {
  #writes: (() => void)[] = [];

  add(write: () => void): void {
    this.#writes.push(write);
  }

  flushBefore<T>(body: () => T): T {
    for (const write of this.#writes.splice(0)) write();
    return body();
  }
}

const OLDEST = '000000000000-0000-a' as Stamp;
