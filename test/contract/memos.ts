import { expect } from 'vitest';
import type { Memo, MemoStore, Transactional } from '../../src/sync/ports.ts';

type Rule = (
  title: string,
  check: (opened: {
    readonly store: MemoStore & Transactional;
    reopen(): MemoStore | Promise<MemoStore>;
  }) => void | Promise<void>,
) => void;

const written = (atMs: number, hash = 'h'): Memo => ({ kind: 'written', atMs, hash, written: [] });

/** What every store does with what is remembered for a day. */
export function memoRules(rule: Rule): void {
  rule('a memo is read by its key as it was written last, and goes when it is old', async ({ store, reopen }) => {
    expect(store.readMemo('a')).toBeUndefined();
    store.writeMemo('a', written(1));
    store.writeMemo('b', written(2));
    store.writeMemo('c', written(3));
    store.writeMemo('a', written(4, 'other'));
    store.forgetMemos(3);
    const after = await reopen();
    expect(['a', 'b', 'c'].map((key) => after.readMemo(key))).toEqual([written(4, 'other'), undefined, written(3)]);
  });

  rule('a memo is part of the transaction that it is written in', ({ store }) => {
    const fail = () => {
      store.writeMemo('a', written(1));
      throw new Error('taken back');
    };
    expect(() => store.transaction(fail)).toThrow('taken back');
    expect(store.readMemo('a')).toBeUndefined();
  });
}
