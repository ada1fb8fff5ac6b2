import type { NodeId } from '../core/ids.ts';

/** Who calls, and what the token allows. */
export interface Caller {
  /** The node that the caller may speak as; undefined: any. */
  readonly nodeId?: NodeId | undefined;
  /** May it carry the changes of nodes below it? */
  readonly relay: boolean;
  /** Entity types; undefined: all. */
  readonly readTypes?: readonly string[] | undefined;
  readonly writeTypes?: readonly string[] | undefined;
}
