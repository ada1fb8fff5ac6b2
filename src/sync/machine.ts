/**
 * The states of a sync, as a pure function: `step(state, event)` is the next state. Nothing durable lives here: after a
 * restart the machine begins as `idle`, and the queue tells what to do. `design.md`, section 7.
 */
export const LINK_STATES = [
  'idle',
  'connecting',
  'handshake',
  'syncing',
  'resolving',
  'finalizing',
  'offline',
  'queuing',
] as const;
export type LinkState = (typeof LINK_STATES)[number];

export type LinkEvent =
  | 'sync_trigger'
  | 'connected'
  | 'connection_failed'
  | 'handshake_complete'
  | 'handshake_failed'
  | 'conflicts_detected'
  | 'no_conflicts'
  | 'conflicts_resolved'
  | 'sync_complete'
  | 'sync_failed'
  | 'connection_lost'
  | 'retry'
  | 'local_change'
  | 'change_queued';

export function step(state: LinkState, event: LinkEvent): LinkState {
  return TRANSITIONS[event][LINK_STATES.indexOf(state)] ?? state;
}

/** What an event makes of each state, in their order; null: it changes nothing. A cell for each pair, or it doesn't compile. */
type Row<States = typeof LINK_STATES> = { readonly [Index in keyof States]: LinkState | null };

const _: null = null;
// biome-ignore format: a table
const TRANSITIONS: Readonly<Record<LinkEvent, Row>> = {
  //                   idle          connecting   handshake  syncing       resolving     finalizing offline       queuing
  sync_trigger:       ['connecting', _,           _,         _,            _,            _,         _,            _],
  connected:          [_,            'handshake', _,         _,            _,            _,         _,            _],
  connection_failed:  [_,            'offline',   _,         _,            _,            _,         _,            _],
  handshake_complete: [_,            _,           'syncing', _,            _,            _,         _,            _],
  handshake_failed:   [_,            _,           'idle',    _,            _,            _,         _,            _],
  conflicts_detected: [_,            _,           _,         'resolving',  _,            _,         _,            _],
  no_conflicts:       [_,            _,           _,         'finalizing', _,            _,         _,            _],
  conflicts_resolved: [_,            _,           _,         _,            'finalizing', _,         _,            _],
  sync_complete:      [_,            _,           _,         _,            _,            'idle',    _,            _],
  sync_failed:        [_,            _,           _,         _,            _,            'idle',    _,            _],
  connection_lost:    [_,            _,           'offline', 'offline',    'offline',    'offline', _,            _],
  retry:              [_,            _,           _,         _,            _,            _,         'connecting', _],
  local_change:       [_,            _,           _,         _,            _,            _,         'queuing',    _],
  change_queued:      [_,            _,           _,         _,            _,            _,         _,            'offline'],
};
