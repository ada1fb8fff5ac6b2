import { expect, onTestFinished, test, vi } from 'vitest';
import type { Member } from '../../src/client/sharing.ts';
import { type Channel, type TabStorage, Tabs } from '../../src/client/tabs.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import { MemoryReplicaStore } from '../../src/store/memory-replica-store.ts';

/** A browser: its tabs, whose turn it is, and what they have on disk. */
class Browser {
  /** In the order of their turns. */
  readonly tabs: Tab[] = [];
  /** Up to which transaction. */
  onDisk = 0;
  /** Set: the storage can't be opened. */
  failure: SyncError | undefined;
  /** Set: what is in it can't be used. */
  foreign: Error | undefined;
  #next = Promise.resolve();

  tab(owner?: string): Tab {
    const tab = new Tab(this, owner);
    this.tabs.push(tab);
    return tab;
  }

  async inTurn(tab: Tab, signal: AbortSignal, lead: () => Promise<void>): Promise<void> {
    const before = this.#next;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#next = promise;
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(new Error('aborted')));
    });
    try {
      await Promise.race([before, aborted]);
    } catch (error) {
      void before.then(resolve);
      throw error;
    }
    // One that dies ends its turn without a word.
    await Promise.race([tab.isDead ? undefined : lead(), tab.dead]);
    resolve();
  }

  async send(from: Tab, message: unknown): Promise<void> {
    for (const tab of this.tabs)
      if (tab !== from && !tab.isDead) tab.listener({ data: structuredClone(message) as never });
  }
}

interface Calls {
  /** Answers when the test says so. */
  ask(what: string): Promise<string>;
  fail(): Promise<string>;
}

/** One tab, as its client sees it. */
class Tab {
  readonly told: string[] = [];
  readonly asked: string[] = [];
  readonly leads: string[] = [];
  /** What the one that leads said of itself, each time that it was another one. */
  readonly follows: unknown[] = [];
  status = '';
  /** What is to be answered, by what was asked. */
  readonly answers = new Map<string, () => void>();
  readonly dead: Promise<void>;
  readonly tabs: Tabs<Calls, string, string>;
  listener: Parameters<Channel['addEventListener']>[1] = () => undefined;
  isDead = false;
  commit = 0;
  /** How often it has closed its storage after what could not be used. */
  closed = 0;
  #die: () => void;
  #told: { onDurable: (commit: number) => void; onFailed: () => void } | undefined;
  /** Waits of this tab, and how to end them. */
  readonly sleeps: (() => void)[] = [];

  constructor(browser: Browser, owner: string | undefined) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.dead = promise;
    this.#die = resolve;
    const tab = this;
    const member: Member<Calls, string, string> = {
      calls: {
        ask: (what) => {
          this.asked.push(what);
          return new Promise((end) => this.answers.set(what, () => end(`${what}!`)));
        },
        fail: async () => {
          throw new SyncError('too_large', 'far too large', { index: 3 });
        },
      },
      owner: async () => owner,
      lead: (_, isPaused) => {
        if (browser.foreign !== undefined) throw browser.foreign;
        this.leads.push(isPaused ? 'paused' : 'leads');
      },
      resume: () => this.leads.push('resumes'),
      follow: () => void this.follows.push(this.tabs.status),
      leave: async (isBroken) => void this.leads.push(isBroken ? 'broken' : 'leaves'),
      status: () => `of ${browser.tabs.indexOf(this)}${this.status}`,
      told: (event) => this.told.push(event),
    };
    const channel: Channel = {
      // As a message that is on its way: it arrives though its sender dies.
      postMessage: (message) => {
        if (!this.isDead) void Promise.resolve().then(() => browser.send(this, message));
      },
      addEventListener: (_, listener) => {
        this.listener = listener;
      },
      close: () => undefined,
    };
    const storage: TabStorage = {
      store: new MemoryReplicaStore(),
      durable: async () => undefined,
      close: async () => {
        this.closed += 1;
      },
      get commit() {
        return tab.commit;
      },
      get durableCommit() {
        return browser.onDisk;
      },
    };
    this.tabs = new Tabs({
      member,
      channel,
      inTurn: (signal, lead) => browser.inTurn(this, signal, lead),
      open: async (told) => {
        if (browser.failure !== undefined) throw browser.failure;
        this.#told = told;
        this.commit = browser.onDisk;
        return storage;
      },
      clock: {
        nowMs: () => 0,
        sleep: (_, signal) =>
          new Promise((end) => {
            this.sleeps.push(end);
            signal?.addEventListener('abort', () => end());
          }),
      },
      entropy: { id: () => crypto.randomUUID(), fraction: () => 0.5 },
    });
    this.tabs.joined.catch(() => undefined);
    this.browser = browser;
    onTestFinished(async () => {
      if (!this.isDead) await this.tabs.close();
    });
  }
  readonly browser: Browser;

  /** A transaction, and what is to be told of it. */
  write(event: string): void {
    this.commit += 1;
    this.tabs.tell(event);
  }

  /** What was written is on disk. */
  flush(): void {
    this.browser.onDisk = this.commit;
    this.#told?.onDurable(this.commit);
  }

  breaks(): void {
    this.#told?.onFailed();
  }

  dies(): void {
    this.isDead = true;
    this.#die();
  }
}

/** All that is on its way has arrived. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
}

async function browserWith(tabs: number) {
  const browser = new Browser();
  const all = Array.from({ length: tabs }, () => browser.tab());
  await Promise.all(all.map(({ tabs: each }) => each.joined));
  await quiet();
  const [one, other] = all;
  if (one === undefined || other === undefined) throw new Error('two tabs at least');
  return { browser, one, other };
}

test('[S47] of several tabs one leads; the others know who it is, and what it says of itself', async () => {
  const { one, other } = await browserWith(2);
  expect([one.leads, other.leads]).toEqual([['leads'], []]);
  expect([one.tabs.status, other.tabs.status]).toEqual([undefined, 'of 0']);
});

test('[S47] who follows hears of each other tab that leads, once', async () => {
  const { browser, one, other } = await browserWith(2);
  const third = browser.tab();
  await quiet();
  one.dies();
  await quiet();
  expect([one.follows, other.follows, third.follows]).toEqual([[], ['of 0'], ['of 0', 'of 1']]);
});

test('[S47] an event is told with how the tab that leads is by then', async () => {
  const { one, other } = await browserWith(2);
  one.status = ', connecting';
  one.tabs.tell('a');
  await quiet();
  expect([other.told, other.tabs.status]).toEqual([['a'], 'of 0, connecting']);
  one.write('b');
  one.status = ', one waits';
  one.flush();
  await quiet();
  expect([other.told, other.tabs.status]).toEqual([['a', 'b'], 'of 0, one waits']);
});

test('[S47] an event is told when its transaction is on disk, in all tabs, and not before', async () => {
  const { one, other } = await browserWith(2);
  one.write('a');
  one.write('b');
  await quiet();
  expect([one.told, other.told]).toEqual([[], []]);
  one.flush();
  await quiet();
  expect([one.told, other.told]).toEqual([
    ['a', 'b'],
    ['a', 'b'],
  ]);
  // Of no transaction: at once.
  one.tabs.tell('c');
  await quiet();
  expect([one.told, other.told].map((told) => told.at(-1))).toEqual(['c', 'c']);
});

test('[S47] of the events of a tab that died those are told that are on disk, though it did not say so, and no others', async () => {
  const { browser, one, other } = await browserWith(2);
  one.write('on disk');
  one.write('lost');
  await quiet();
  browser.onDisk = 1;
  expect(other.told).toEqual([]);
  one.dies();
  await quiet();
  expect([other.leads, other.told]).toEqual([['leads'], ['on disk']]);
  other.write('new');
  other.flush();
  await quiet();
  expect(other.told).toEqual(['on disk', 'new']);
});

test('[S47] what was asked of a tab that died is asked again of the next one; what was answered is not', async () => {
  const { browser, one, other } = await browserWith(2);
  const third = browser.tab();
  await quiet();
  const answered = other.tabs.ask('ask', 'answered');
  const open = other.tabs.ask('ask', 'open');
  const early = third.tabs.ask('ask', 'of the third');
  await quiet();
  one.answers.get('answered')?.();
  expect(await answered).toBe('answered!');
  one.dies();
  await quiet();
  expect(other.asked).toEqual(['open', 'of the third']);
  for (const end of other.answers.values()) end();
  expect(await Promise.all([open, early])).toEqual(['open!', 'of the third!']);
});

test('[S47] a failure goes from tab to tab as it is', async () => {
  const { other } = await browserWith(2);
  await expect(other.tabs.ask('fail')).rejects.toMatchObject({
    code: 'too_large',
    message: 'far too large',
    details: { index: 3 },
  });
  await expect(other.tabs.ask('ask', (() => 'no data') as never)).rejects.toMatchObject({ code: 'bad_request' });
});

test('[S47] a tab whose storage fails opens it again by itself, and goes on syncing after a wait', async () => {
  const { one, other } = await browserWith(2);
  one.write('lost');
  const asked = other.tabs.ask('ask', 'a');
  await quiet();
  one.breaks();
  await quiet();
  expect(one.leads).toEqual(['leads', 'broken', 'paused']);
  expect(other.leads).toEqual([]);
  // It goes on with what is on disk.
  expect([one.commit, one.told, other.told]).toEqual([0, [], []]);
  one.answers.get('a')?.();
  expect(await asked).toBe('a!');
  for (const end of one.sleeps) end();
  await quiet();
  expect(one.leads.at(-1)).toBe('resumes');
});

test('[S46] [S47] where nobody can open the storage, who asks is told why; who can wait does; and it is tried again', async () => {
  const browser = new Browser();
  browser.failure = new SyncError('storage_unavailable', 'not in private mode');
  const [one, other] = [browser.tab(), browser.tab()];
  const patient = other.tabs.expect('ask', 'patient');
  for (const { tabs } of [one, other]) {
    await expect(tabs.joined).rejects.toMatchObject({ code: 'storage_unavailable', message: 'not in private mode' });
    await expect(tabs.ask('ask', 'now')).rejects.toMatchObject({ code: 'storage_unavailable' });
  }
  browser.failure = undefined;
  for (const end of one.sleeps) end();
  await vi.waitUntil(() => one.answers.has('patient'));
  one.answers.get('patient')?.();
  expect(await patient).toBe('patient!');
});

test('[S46] [S47] a storage that opens, and is not that of this client, is closed, and who asks is told why', async () => {
  const browser = new Browser();
  browser.foreign = new Error('the storage is of another node');
  const tab = browser.tab();
  await expect(tab.tabs.joined).rejects.toMatchObject({
    code: 'storage_unavailable',
    message: expect.stringContaining('of another node'),
  });
  expect(tab.closed).toBe(1);
});

test('[S47] a tab that is closed ends what was asked by it, and leaves what others asked to the next one', async () => {
  const { one, other } = await browserWith(2);
  const mine = one.tabs.ask('ask', 'mine');
  const theirs = other.tabs.ask('ask', 'theirs');
  await quiet();
  const closed = one.tabs.close();
  for (const end of one.answers.values()) end();
  await closed;
  await quiet();
  expect([one.leads, other.leads, other.asked]).toEqual([['leads', 'leaves'], ['leads'], ['theirs']]);
  for (const end of other.answers.values()) end();
  expect(await theirs).toBe('theirs!');
  expect(await mine).toBe('mine!');
  const late = other.tabs.ask('ask', 'late');
  await quiet();
  const later = other.tabs.ask('ask', 'later');
  await other.tabs.close();
  await expect(late).rejects.toMatchObject({ code: 'outcome_unknown' });
  await expect(later).rejects.toMatchObject({ code: 'outcome_unknown' });
});

test('[S47] a tab of another version that leads is not asked', async () => {
  const { browser, one, other } = await browserWith(2);
  await browser.send(one, { version: 2, kind: 'leading', lead: 'x' });
  await expect(other.tabs.ask('ask', 'a')).rejects.toMatchObject({ code: 'storage_unavailable' });
  expect(one.asked).toEqual([]);
  one.dies();
  await quiet();
  const asked = other.tabs.ask('ask', 'a');
  await quiet();
  other.answers.get('a')?.();
  expect(await asked).toBe('a!');
});

test('[I9] [S47] a tab of another user is refused', async () => {
  const browser = new Browser();
  const [mine, theirs, unknown] = [browser.tab('me'), browser.tab('you'), browser.tab()];
  await quiet();
  await expect(theirs.tabs.ask('ask', 'a')).rejects.toMatchObject({ code: 'forbidden' });
  const asked = unknown.tabs.ask('ask', 'b');
  await quiet();
  mine.answers.get('b')?.();
  expect(await asked).toBe('b!');
  expect(mine.asked).toEqual(['b']);
});
