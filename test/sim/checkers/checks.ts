import type { Sequencing } from '../cloud-host.ts';
import { broken } from '../cloud-host.ts';
import type { NodeHost } from '../node-host.ts';
import type { Space } from '../space.ts';
import { Decisions } from './decisions.ts';
import { checkCloudIsolation, checkNodeIsolation } from './isolation.ts';
import { Ledger } from './ledger.ts';
import { checkPairsAt, checkPairsInCloud } from './pairs.ts';
import { Prefixes } from './prefix.ts';
import { Registers } from './registers.ts';
import { Rows } from './rows.ts';
import { StrongHistory } from './strong-history.ts';
import { Tallies } from './tallies.ts';

/** All that is checked of one space. */
export class Checks {
  readonly ledger: Ledger;
  readonly rows: Rows;
  registers = new Registers();
  strong = new StrongHistory();
  tallies = new Tallies();
  readonly #space: () => Space;
  #decisions: Decisions;
  readonly #prefixes: Prefixes;
  #head = 0;
  #projected = 0;

  constructor(space: () => Space) {
    this.#space = space;
    this.rows = new Rows(space);
    this.ledger = new Ledger(space, this.rows);
    this.#decisions = new Decisions(space, this.rows);
    this.#prefixes = new Prefixes(space);
  }

  sequenced(sequencing: Sequencing): void {
    this.#decisions.sequenced(sequencing);
  }

  unbrought(dots: readonly string[]): void {
    this.#decisions.unbrought(dots);
  }

  /** The cloud is gone, and its history: what is said of the next one is said of that alone. */
  lostCloud(): void {
    this.ended();
    this.ledger.lostCloud();
    this.registers = new Registers();
    this.strong = new StrongHistory();
    this.tallies = new Tallies();
    this.#decisions = new Decisions(this.#space, this.rows);
  }

  /** A history has ended, with its cloud or with the run. */
  ended(): void {
    this.strong.check(this.#space().trace);
  }

  /** After each event: all that may have changed in it. */
  afterEvent(): void {
    const space = this.#space();
    for (const node of space.nodes) {
      checkLink(node);
      if (!node.isTouched) continue;
      node.isTouched = false;
      checkNodeIsolation(space, node);
      this.ledger.check(node);
      this.#prefixes.checkNode(node);
      checkPairsAt(node, space);
    }
    const { history, d1 } = space;
    const isChanged = history.head !== this.#head || d1.position.seq !== this.#projected;
    if (!isChanged) return;
    this.#head = history.head;
    this.#projected = d1.position.seq;
    checkCloudIsolation(space);
    checkPairsInCloud(space);
    this.#prefixes.checkD1();
    this.tallies.check((key) => history.at(key, history.head)?.data ?? undefined);
  }
}

/** A sync ends well, or with a failure that has a code; `internal` is an invariant of the engine that broke. */
function checkLink({ process, nodeId }: NodeHost): void {
  const error = process?.link.lastSummary?.error;
  if (error?.code === 'internal') throw broken(nodeId, new Error(error.detail));
}
