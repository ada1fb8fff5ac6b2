import type { OpenStorage } from './open-storage.ts';

/**
 * One of several clients that share a storage. One leads: it has the storage open, and does what the others ask for.
 * `Calls` are functions that may be called again with the same arguments, and do the same then; arguments and answers are
 * data, and so are events and status.
 */
export interface Member<Calls, Event, Status> {
  readonly calls: Calls;
  /** Whose client this is; undefined: it can't be told. */
  owner(): Promise<string | undefined>;
  /** This one leads now. @param isPaused the storage has failed of late: nothing is synced yet. */
  lead(storage: OpenStorage, isPaused: boolean): void;
  /** What was held back may go on. */
  resume(): void;
  /** It leads no more. @param isBroken the storage has failed: there is nothing to wait for. */
  leave(isBroken: boolean): Promise<void>;
  /** Another one leads from now on, and has said how it is. */
  follow(): void;
  status(): Status;
  /** Something happened, here or at the one that leads, and is durable. */
  told(event: Event): void;
}

/** The others, for one of them. */
export interface Share<Calls, Event, Status> {
  /** Ends when somebody leads. @throws SyncError where nobody can. */
  readonly joined: Promise<void>;
  /** As the one that leads has last said. */
  readonly status: Status | undefined;
  /** Asks the one that leads, as soon as there is one; again, where that dies before it has answered. */
  ask<Name extends keyof Calls>(name: Name, ...args: ArgsOf<Calls[Name]>): Promise<AnswerOf<Calls[Name]>>;
  /** As {@link ask}; it waits also while nobody can lead, and for ever when this one is closed. */
  expect<Name extends keyof Calls>(name: Name, ...args: ArgsOf<Calls[Name]>): Promise<AnswerOf<Calls[Name]>>;
  /** Tells all, this one too, of what happened here: as soon as all that was written before is durable. */
  tell(event: Event): void;
  close(): Promise<void>;
}

export type ArgsOf<Call> = Call extends (...args: infer Args) => unknown ? Args : never;
export type AnswerOf<Call> = Call extends (...args: never[]) => Promise<infer Answer> ? Answer : never;
