import type { Settlement } from 'causeway/client';
import type { NoteClient } from './notes.ts';

/** What became of a change that met one of somebody else, or that the cloud has refused. */
export interface News {
  readonly changeId: string;
  /** Of which note; undefined: not known any more. */
  readonly noteId: string | undefined;
  readonly text: string;
}

/** The news since the page was opened, newest first, as a store for `useSyncExternalStore`. */
export function newsOf(client: NoteClient) {
  let all: readonly News[] = [];
  const listeners = new Set<() => void>();
  /** By change: a record that shows a change of its own has that as its version. */
  const notes = new Map<string, string>();
  client.subscribe(['field-notes'], ({ version, entityId }) => {
    if (version !== null) notes.set(version, entityId);
  });
  const tell = (settlement: Settlement) => {
    const { changeId } = settlement;
    all = [{ changeId, noteId: notes.get(changeId), text: textOf(settlement) }, ...all];
    for (const listener of listeners) listener();
  };
  client.on('conflict', tell);
  client.on('deadLetter', tell);
  return {
    /** Learns of what waits since an earlier visit; to be called when the client is open. */
    load: async () => {
      for (let after: string | null = ''; after !== null; ) {
        const page: Awaited<ReturnType<typeof client.list<'field-notes'>>> = await client.list('field-notes', {
          after,
        });
        for (const { version, entityId } of page.items) notes.set(version, entityId);
        after = page.next;
      }
    },
    get: () => all,
    subscribe: (listener: () => void) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

function textOf({ status, detail = '' }: Settlement): string {
  switch (status) {
    case 'merged':
      return 'Somebody else changed it too: what each of you changed is kept.';
    case 'superseded':
      return 'Somebody else changed the same later: theirs holds.';
    case 'rejected':
      return `The cloud has refused your change. ${detail}`;
    default:
      return 'Somebody else changed the same earlier: yours holds.';
  }
}
