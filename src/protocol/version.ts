/** Versions of the sync protocol. 1: the first. */
export const PROTOCOL_VERSION = 1;
export const SUPPORTED_PROTOCOLS: readonly number[] = [1];

/** What this implementation can do beyond the plain protocol. */
export const CAPABILITIES: readonly string[] = [
  'delta-sync',
  'compression',
  'conflict-resolution',
  /** Behind a change that has to be sent once more, the rest of its node's waits: `deferred`. */
  'causal-order',
];
