import { fromResult, type Result, SyncError, toResult } from '../protocol/errors.ts';
import { backoffMs } from '../sync/backoff.ts';
import type { Clock, Entropy } from '../sync/ports.ts';
import type { OpenStorage } from './open-storage.ts';
import type { AnswerOf, ArgsOf, Member, Share } from './sharing.ts';

/** A storage that counts its transactions, and says which of them are on disk. */
export interface TabStorage extends OpenStorage {
  readonly commit: number;
  readonly durableCommit: number;
}

export interface TabsOptions<Calls, Event, Status> {
  readonly member: Member<Calls, Event, Status>;
  readonly channel: Channel;
  /** Calls `lead` when it is this tab's turn, and no other tab's before that has ended. */
  readonly inTurn: (signal: AbortSignal, lead: () => Promise<void>) => Promise<void>;
  readonly open: (told: { onDurable: (commit: number) => void; onFailed: () => void }) => Promise<TabStorage>;
  readonly clock: Clock;
  readonly entropy: Entropy;
}

/** To all tabs but this one, as a BroadcastChannel is; what one sends arrives in order. */
export interface Channel {
  postMessage(message: unknown): void;
  addEventListener(type: 'message', listener: (event: { readonly data: never }) => void): void;
  close(): void;
}

/**
 * The tabs of a browser that share a storage. One leads: it has the storage open, does what the others ask for, and tells
 * them what happens. When it ends or dies, another one does; what was asked and not answered is asked again.
 *
 * What a tab is told of is on disk. An event is sent at once, so that it is not lost with the tab that leads, and who gets
 * it holds it back until its transaction is on disk: so says the tab that leads, or the next one, which has read it there.
 */
export class Tabs<Calls, Event, Status> implements Share<Calls, Event, Status> {
  readonly joined: Promise<void>;
  readonly #options: TabsOptions<Calls, Event, Status>;
  readonly #join: { readonly resolve: () => void; readonly reject: (error: SyncError) => void };
  readonly #end = new AbortController();
  readonly #waiting = new Map<string, Waiting>();
  readonly #turns: Promise<void>;
  /** In the order of their transactions. */
  #held: { readonly commit: number; readonly event: Event }[] = [];
  /** Set while this tab leads. */
  #own: { readonly lead: string; readonly storage: TabStorage } | undefined;
  /** By what name somebody leads; another one each time. */
  #lead: string | undefined;
  #status: Status | undefined;
  /** Why nobody can lead. */
  #refusal: SyncError | undefined;
  /** Of the storage, in a row. */
  #failures = 0;

  constructor(options: TabsOptions<Calls, Event, Status>) {
    this.#options = options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.joined = promise;
    this.#join = { resolve, reject };
    options.channel.addEventListener('message', ({ data }) => this.#heard(data));
    this.#post({ kind: 'hello' });
    this.#turns = this.#takeTurns();
  }

  get status(): Status | undefined {
    return this.#status;
  }

  async ask<Name extends keyof Calls>(name: Name, ...args: ArgsOf<Calls[Name]>): Promise<AnswerOf<Calls[Name]>> {
    return await this.#ask(name, args, false);
  }

  async expect<Name extends keyof Calls>(name: Name, ...args: ArgsOf<Calls[Name]>): Promise<AnswerOf<Calls[Name]>> {
    return await this.#ask(name, args, true);
  }

  tell(event: Event): void {
    if (this.#own === undefined) return;
    const { lead, storage } = this.#own;
    const { commit, durableCommit: durable } = storage;
    // What has to wait for the disk is told with how it is by then: a thousand changes at once are one status.
    const status = commit <= durable ? this.#options.member.status() : undefined;
    this.#post({ kind: 'event', lead, commit, durable, event, status });
    this.#held.push({ commit, event });
    this.#release(durable);
  }

  /** What was asked and not answered may happen, or not. */
  async close(): Promise<void> {
    this.#end.abort();
    await this.#turns;
    this.#options.channel.close();
    this.#endWaiting(closedEarly());
  }

  async #ask<Name extends keyof Calls>(
    name: Name,
    args: ArgsOf<Calls[Name]>,
    isPatient: boolean,
  ): Promise<AnswerOf<Calls[Name]>> {
    const copy = copyOf(args);
    const { entropy, member } = this.#options;
    const call = { id: entropy.id(), name: String(name), args: copy, owner: await member.owner() };
    if (this.#end.signal.aborted) throw closedEarly();
    const result = await new Promise<Result<unknown>>((end) => {
      const waiting = { call, isPatient, askedOf: undefined, end };
      this.#waiting.set(call.id, waiting);
      this.#send(waiting);
    });
    this.#waiting.delete(call.id);
    return fromResult(result) as AnswerOf<Calls[Name]>;
  }

  /** Once under each lead. */
  #send(waiting: Waiting): void {
    const lead = this.#lead;
    if (this.#refusal !== undefined && !waiting.isPatient) waiting.end(asResult(this.#refusal));
    if (this.#refusal !== undefined || lead === undefined || lead === waiting.askedOf) return;
    waiting.askedOf = lead;
    if (this.#own === undefined) this.#post({ kind: 'call', lead, call: waiting.call });
    else void this.#perform(waiting.call).then(waiting.end);
  }

  #heard(message: Message<Event, Status>): void {
    if (message.version !== VERSION) {
      const detail = 'a tab with another version of this program leads; it has to be closed, or loaded again';
      if (message.kind === 'leading') this.#refuse(new SyncError('storage_unavailable', detail));
      return;
    }
    switch (message.kind) {
      case 'hello':
        this.#announce();
        break;
      case 'leading':
        this.#status = message.status;
        if (this.#follow(message.lead, message.durable)) this.#options.member.follow();
        break;
      case 'failed':
        this.#refuse(new SyncError('storage_unavailable', message.detail));
        break;
      case 'call':
        if (message.lead === this.#own?.lead) void this.#answer(message.call);
        break;
      case 'answer':
        if (!this.#waiting.has(message.id)) break;
        this.#status = message.status;
        this.#waiting.get(message.id)?.end(message.result);
        break;
      case 'event':
        if (message.lead !== this.#lead) break;
        this.#status = message.status ?? this.#status;
        this.#held.push(message);
        this.#release(message.durable);
        break;
      case 'durable':
        if (message.lead !== this.#lead) break;
        this.#status = message.status;
        this.#release(message.durable);
        break;
    }
  }

  /** @returns whether it is another one than before. */
  #follow(lead: string, durable: number): boolean {
    this.#release(durable);
    const isOther = lead !== this.#lead;
    // What is not on disk when another one begins never happened.
    if (isOther) this.#held = [];
    this.#lead = lead;
    this.#refusal = undefined;
    this.#join.resolve();
    for (const waiting of this.#waiting.values()) this.#send(waiting);
    return isOther;
  }

  #release(durable: number): void {
    for (let next = this.#held[0]; next !== undefined && next.commit <= durable; next = this.#held[0]) {
      this.#held.shift();
      this.#options.member.told(next.event);
    }
  }

  async #answer(call: CallMade): Promise<void> {
    const result = await this.#perform(call);
    // The next one is asked again.
    if (this.#end.signal.aborted) return;
    this.#post({ kind: 'answer', id: call.id, result, status: this.#options.member.status() });
  }

  async #perform({ name, args, owner }: CallMade): Promise<Result<unknown>> {
    const { member } = this.#options;
    try {
      return await toResult(async () => {
        const mine = await member.owner();
        if (owner !== undefined && mine !== undefined && owner !== mine) {
          throw new SyncError('forbidden', 'the storage is that of another user, who is there in another tab');
        }
        const calls: Partial<Record<string, (...args: readonly unknown[]) => unknown>> = {
          ...(member.calls as object),
        };
        if (calls[name] === undefined) throw new SyncError('not_found', `there is no ${name}`);
        return await calls[name](...args);
      });
    } catch (error) {
      return asResult(new SyncError('internal', error instanceof Error ? error.message : String(error)));
    }
  }

  async #takeTurns(): Promise<void> {
    const { signal } = this.#end;
    try {
      await this.#options.inTurn(signal, async () => {
        while (!signal.aborted) await this.#leadOnce(signal);
      });
    } catch (error) {
      if (!signal.aborted) this.#refuse(asUnavailable(error));
    }
  }

  /** As long as the storage works. */
  async #leadOnce(signal: AbortSignal): Promise<void> {
    const { member, open, clock, entropy } = this.#options;
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    const waitMs = () => backoffMs(this.#failures, entropy.fraction());
    const onDurable = (durable: number) => {
      this.#failures = 0;
      this.#release(durable);
      if (this.#own === undefined) return;
      this.#post({ kind: 'durable', lead: this.#own.lead, durable, status: member.status() });
    };
    const lead = entropy.id();
    const isPaused = this.#failures > 0;
    let storage: TabStorage | undefined;
    try {
      storage = await open({ onDurable, onFailed: end });
      this.#own = { lead, storage };
      member.lead(storage, isPaused);
    } catch (error) {
      this.#own = undefined;
      await storage?.close();
      this.#failures += 1;
      const refusal = asUnavailable(error);
      this.#refuse(refusal);
      this.#post({ kind: 'failed', detail: refusal.message });
      await clock.sleep(waitMs(), signal);
      return;
    }
    this.#announce();
    this.#follow(lead, storage.durableCommit);
    const pause = new AbortController();
    if (isPaused) void clock.sleep(waitMs(), pause.signal).then(() => pause.signal.aborted || member.resume());
    signal.addEventListener('abort', () => end());
    if (!signal.aborted) await over;
    pause.abort();
    this.#failures += 1;
    this.#status = member.status();
    await member.leave(!signal.aborted);
    this.#own = undefined;
    this.#lead = undefined;
    this.#held = [];
  }

  #announce(): void {
    if (this.#own === undefined) return;
    const { lead, storage } = this.#own;
    this.#post({ kind: 'leading', lead, durable: storage.durableCommit, status: this.#options.member.status() });
  }

  #refuse(refusal: SyncError): void {
    if (this.#own !== undefined) return;
    this.#refusal = refusal;
    this.#join.reject(refusal);
    this.#endWaiting(refusal);
  }

  #endWaiting(error: SyncError): void {
    for (const { isPatient, end } of this.#waiting.values()) if (!isPatient) end(asResult(error));
  }

  #post(message: MessageContent<Event, Status>): void {
    this.#options.channel.postMessage({ version: VERSION, ...message });
  }
}

/** Tabs with another one understand `version`, and `kind` where somebody leads. */
const VERSION = 1;

type Message<Event, Status> = { readonly version: number } & MessageContent<Event, Status>;

type MessageContent<Event, Status> =
  /** Who leads? */
  | { readonly kind: 'hello' }
  /** @param durable up to which transaction all are on disk. */
  | { readonly kind: 'leading'; readonly lead: string; readonly durable: number; readonly status: Status }
  /** The tab whose turn it is can't open the storage. */
  | { readonly kind: 'failed'; readonly detail: string }
  | { readonly kind: 'call'; readonly lead: string; readonly call: CallMade }
  | { readonly kind: 'answer'; readonly id: string; readonly result: Result<unknown>; readonly status: Status }
  /** @param commit the transaction that it came with. */
  | {
      readonly kind: 'event';
      readonly lead: string;
      readonly commit: number;
      readonly durable: number;
      readonly event: Event;
      readonly status: Status | undefined;
    }
  | { readonly kind: 'durable'; readonly lead: string; readonly durable: number; readonly status: Status };

interface CallMade {
  readonly id: string;
  readonly name: string;
  readonly args: readonly unknown[];
  /** Whose client asks. */
  readonly owner: string | undefined;
}

interface Waiting {
  readonly call: CallMade;
  /** It waits also while nobody can be asked. */
  readonly isPatient: boolean;
  /** Under which lead it was asked last. */
  askedOf: string | undefined;
  readonly end: (result: Result<unknown>) => void;
}

function closedEarly(): SyncError {
  return new SyncError('outcome_unknown', 'the client was closed before there was an answer');
}

/** As it is now. @throws SyncError `bad_request` for what is no data. */
function copyOf<T>(args: T): T {
  try {
    return structuredClone(args);
  } catch {
    throw new SyncError('bad_request', 'only data goes from one tab to another');
  }
}

function asResult({ code, message, details }: SyncError): Result<never> {
  return { ok: false, code, detail: message, details };
}

function asUnavailable(error: unknown): SyncError {
  if (error instanceof SyncError) return error;
  const detail = `the tabs of this browser can't share its storage: ${String(error)}`;
  return new SyncError('storage_unavailable', detail);
}
