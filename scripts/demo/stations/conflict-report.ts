import { compareStamps, parseStamp, toStamp } from '../../../src/core/hlc.ts';
import { type JsonObject, jsonEqual } from '../../../src/core/json.ts';
import type { Conflict } from '../answers.ts';
import { formatSeconds } from '../format.ts';
import { nameOf } from '../ledger.ts';

/** One conflict, told by who wrote what rather than by who was there first. */
export type DecidedConflict = WonConflict | MergedConflict;

export interface WonConflict {
  readonly kind: 'won';
  readonly name: string;
  readonly winner: ConflictSide;
  readonly loser: ConflictSide;
  /** Whether the winner's stamp is the later one, and its content the one that was kept. */
  readonly isLatest: boolean;
}

/** What was kept is neither side's record. */
export interface MergedConflict {
  readonly kind: 'merged';
  readonly name: string;
}

export interface ConflictSide {
  readonly node: string;
  readonly atMs: number;
  readonly data: JsonObject | null;
}

export function isWon(conflict: DecidedConflict): conflict is WonConflict {
  return conflict.kind === 'won';
}

/** Pure. */
export function decided({ entityType, entityId, local, remote, resolution }: Conflict): DecidedConflict {
  const name = nameOf({ entityType, entityId });
  if (resolution.winner === 'merged') return { kind: 'merged', name };
  const [winner, loser] = resolution.winner === 'local' ? [local, remote] : [remote, local];
  const [later, earlier] = [toStamp(winner.stamp), toStamp(loser.stamp)];
  if (later === undefined || earlier === undefined) throw new Error(`a conflict about ${entityId} has no stamps`);
  return {
    kind: 'won',
    name,
    winner: sideOf(winner),
    loser: sideOf(loser),
    isLatest: compareStamps(later, earlier) > 0 && jsonEqual(resolution.resolvedData, winner.data),
  };
}

/** The conflict in words, by one field that the sides have filled in differently. */
export function inWords({ name, winner, loser }: WonConflict, field: string): string {
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
