import { createCollection, createLiveQueryCollection } from '@tanstack/db';
import { EdgeCloudClient, type Policies } from 'causeway/client';
import { browserStorage } from 'causeway/client/browser';
import { causewayCollectionOptions } from 'causeway/tanstack-db';

/** Put in when the page is bundled (`server.ts`). */
declare const ENDPOINT: string;

export interface Note {
  readonly title: string;
  readonly text: string;
  readonly done: boolean;
  /** A small JPEG as a data URL; empty: none. */
  readonly photo: string;
  /** When it was added, by the clock of who did. */
  readonly addedAt: string;
}

export type NoteClient = EdgeCloudClient<Policies<{ 'field-notes': Note }>>;

/** A browser of a person is one node, with its own copy of all notes; its tabs are one client. */
export function openNotes(user: string) {
  const nodeId = remembered(`${user}/node`, () => `${user}-${crypto.randomUUID().slice(0, 8)}`);
  const client: NoteClient = new EdgeCloudClient({
    nodeId,
    cloudEndpoint: ENDPOINT,
    token: () => tokenOf(user, nodeId),
    storage: browserStorage(),
    // Two people may change different fields of a note: both hold. The cloud's policies say the same.
    conflictStrategies: { 'field-notes': 'merge' },
    consistencyRules: { 'field-notes': { level: 'eventual' } },
  });
  const notes = createCollection(causewayCollectionOptions({ client, entityType: 'field-notes' }));
  const newestFirst = createLiveQueryCollection((q) =>
    q.from({ note: notes }).orderBy(({ note }) => note.addedAt, 'desc'),
  );
  return { client, notes, newestFirst };
}

/** The last one will do, where there is no network: the client shows what is here, and sends when it gets a good one. */
async function tokenOf(user: string, nodeId: string): Promise<string> {
  const key = `${user}/token`;
  try {
    // An app of your own asks its users to sign in here.
    const answer = await fetch(`/token?${new URLSearchParams({ user, node: nodeId })}`);
    if (!answer.ok) throw new Error(`there is no token: ${answer.status}`);
    const token = await answer.text();
    localStorage.setItem(key, token);
    return token;
  } catch (error) {
    const last = localStorage.getItem(key);
    if (last === null) throw error;
    return last;
  }
}

function remembered(key: string, make: () => string): string {
  const value = localStorage.getItem(key) ?? make();
  localStorage.setItem(key, value);
  return value;
}
