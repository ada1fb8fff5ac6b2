import { compareStamps, parseStamp, toStamp } from '../../src/core/hlc.ts';
import { type JsonObject, jsonEqual } from '../../src/core/json.ts';
import type { Conflict } from './answers.ts';
import { formatSeconds } from './format.ts';
import { nameOf } from './ledger.ts';

/** One conflict, told by who wrote what rather than by who was there first. */
export interface DecidedConflict {
  readonly name: string;
  readonly winner: ConflictSide;
  readonly loser: ConflictSide;
  /** Whether the winner's stamp is the later one, and its content the one that was kept. */
  readonly isLatest: boolean;
}

export interface ConflictSide {
  readonly node: string;
  readonly atMs: number;
  readonly data: JsonObject | null;
}

/** Pure. */
export function decided({ entityType, entityId, local, remote, resolution }: Conflict): DecidedConflict {
  const [winner, loser] = resolution.winner === 'local' ? [local, remote] : [remote, local];
  const [later, earlier] = [toStamp(winner.stamp), toStamp(loser.stamp)];
  if (later === undefined || earlier === undefined) throw new Error(`a conflict about ${entityId} has no stamps`);
  return {
    name: nameOf({ entityType, entityId }),
    winner: sideOf(winner),
    loser: sideOf(loser),
    isLatest: compareStamps(later, earlier) > 0 && jsonEqual(resolution.resolvedData, winner.data),
  };
}

/** The conflict in words, by one field that the sides have filled in differently. */
export function inWords({ name, winner, loser }: DecidedConflict, field: string): string {
  return (
    `${name}: ${loser.node} set ${field} to ${loser.data?.[field]}, ${winner.node} ` +
    `set it to ${winner.data?.[field]}, ${formatSeconds(winner.atMs - loser.atMs)} later. ` +
    `The later write wins: ${winner.data?.[field]}.`
  );
}

function sideOf({ stamp, data }: Conflict['local']): ConflictSide {
  const parts = parseStamp(stamp);
  if (parts === undefined) throw new Error(`${stamp} is no stamp`);
  return { node: parts.node, atMs: parts.wallMs, data };
}
