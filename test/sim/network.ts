import type { NodeId } from '../../src/core/ids.ts';
import type { MessageFault } from './options.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';

/** One request, as a text, with what the credentials of its sender say. */
export interface Message {
  readonly space: string;
  /** Whose line it goes over. */
  readonly sender: string;
  /** As whom it speaks, as its token says; not the sender, where that is a relay. */
  readonly nodeId: NodeId;
  readonly method: 'connect' | 'handshake' | 'exchange';
  readonly sessionId: string;
  readonly text: string;
}

/** Whoever takes requests: a cloud, or a relay. */
export interface Endpoint {
  /** Calls `reply` with the answer's text, now or later; never, where nobody is there any more to give one. */
  receive(message: Message, reply: (text: string) => void): void;
}

export interface NetworkOptions {
  readonly latencyMs: number;
  readonly messageFaults: Readonly<Record<MessageFault, number>>;
}

/** Which ways of a node's line are cut. */
interface Cut {
  readonly up: boolean;
  readonly down: boolean;
}

/**
 * Carries texts between nodes and the tier above, over a queue that loses, doubles, reorders and delays them. Each
 * node has one line, which can be cut one way or both ways.
 */
export class Network {
  readonly #scheduler: Scheduler;
  readonly #trace: Trace;
  readonly #cuts = new Map<string, Cut>();
  #options: NetworkOptions;

  constructor(scheduler: Scheduler, trace: Trace, options: NetworkOptions) {
    this.#scheduler = scheduler;
    this.#trace = trace;
    this.#options = options;
  }

  /** Sends a request to whoever stands above the node, and tells `onAnswer` of each answer that arrives. */
  request(message: Message, to: Endpoint, onAnswer: (text: string) => void): void {
    this.#send(message, 'up', () => {
      to.receive(message, (answer) => this.#send(message, 'down', () => onAnswer(answer)));
    });
  }

  cut(line: string, cut: Cut): void {
    this.#cuts.set(line, cut);
  }

  /** From now on every line is whole, and nothing more is lost; what is under way still arrives. */
  heal(): void {
    this.#cuts.clear();
    this.#options = { latencyMs: this.#options.latencyMs, messageFaults: NO_FAULTS };
  }

  #send(message: Message, way: keyof Cut, deliver: () => void): void {
    const label = `${message.space}/${message.sender} ${message.method} ${way}`;
    const loss = way === 'up' ? 'lost-request' : 'lost-answer';
    if (this.#isCut(message, way)) this.#lose(`cut-${way}`, label);
    else if (this.#happens(loss)) this.#lose(loss, label);
    else this.#carry(message, way, label, deliver);
  }

  #carry(message: Message, way: keyof Cut, label: string, deliver: () => void): void {
    const arrive = (): void => {
      this.#trace.note(`${label} arrives`);
      // A line that was cut meanwhile gives nothing out.
      if (this.#isCut(message, way)) this.#lose(`cut-${way}`, label);
      else deliver();
    };
    const delayMs = this.#delayMs(label);
    this.#scheduler.after(delayMs, arrive);
    if (way === 'up' && this.#happens('duplicated')) {
      this.#trace.count('fault: duplicated');
      this.#scheduler.after(delayMs + this.#scheduler.random.between(0, DUPLICATE_WITHIN_MS), arrive);
    }
  }

  #delayMs(label: string): number {
    const { random } = this.#scheduler;
    const usualMs = random.between(1, this.#options.latencyMs);
    if (this.#happens('late')) {
      this.#trace.note(`${label} will be late`);
      this.#trace.count('fault: late');
      return usualMs + random.between(LATE_FROM_MS, LATE_TO_MS);
    }
    if (this.#happens('reordered')) {
      this.#trace.count('fault: reordered');
      return usualMs + random.between(0, 10 * this.#options.latencyMs);
    }
    return usualMs;
  }

  #isCut(message: Message, way: keyof Cut): boolean {
    return this.#cuts.get(lineOf(message))?.[way] === true;
  }

  #lose(why: string, label: string): void {
    this.#trace.note(`${label} is lost: ${why}`);
    this.#trace.count(`fault: ${why}`);
  }

  #happens(fault: MessageFault): boolean {
    return this.#scheduler.random.chance(this.#options.messageFaults[fault]);
  }
}

export function lineOf({ space, sender }: { readonly space: string; readonly sender: string }): string {
  return `${space}/${sender}`;
}

const NO_FAULTS: NetworkOptions['messageFaults'] = {
  'lost-request': 0,
  'lost-answer': 0,
  duplicated: 0,
  reordered: 0,
  late: 0,
};

const DUPLICATE_WITHIN_MS = 30_000;
/** Beyond what a sender waits for (20 s). */
const LATE_FROM_MS = 20_000;
const LATE_TO_MS = 60_000;
