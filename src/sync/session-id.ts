import { type NodeId, toNodeId } from '../core/ids.ts';

/** The id of a session: whose it is, in front, tells whose record to look into. */
export function sessionIdOf(nodeId: NodeId, random: string): string {
  return `${nodeId}.${random}`;
}

/** Whose session it would be; undefined: no session has this id. */
export function nodeOfSession(sessionId: string): NodeId | undefined {
  return toNodeId(sessionId.slice(0, Math.max(0, sessionId.lastIndexOf('.'))));
}
