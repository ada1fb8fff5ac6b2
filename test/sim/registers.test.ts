import { expect, test } from 'vitest';
import type { EntityKey } from '../../src/core/ids.ts';
import { Registers } from './checkers/registers.ts';
import { type Op, unknownOp } from './op.ts';

const KEY = 'note/x' as EntityKey;

function strongWrite(seq: number | undefined): Op {
  const fate = { status: 'applied', epoch: 'e', seq, position: seq ?? 0 } as const;
  return { ...unknownOp('a:1', 'a', KEY), fate };
}

test('[I7] a strong read that saw less than somebody was answered with before it began is found', () => {
  const registers = new Registers();
  registers.wrote(strongWrite(7), registers.floor(KEY));
  const floor = registers.floor(KEY);
  expect(() => registers.read(KEY, floor, 7, 7)).not.toThrow();
  expect(() => registers.read(KEY, floor, 6, 3)).toThrow(expect.objectContaining({ rule: 'I7' }));
});

test('[I7] a strong write before what was answered, or without any effect, is found', () => {
  const registers = new Registers();
  registers.read(KEY, 0, 9, 9);
  const floor = registers.floor(KEY);
  expect(() => registers.wrote(strongWrite(9), floor)).toThrow(expect.objectContaining({ rule: 'I7' }));
  expect(() => registers.wrote({ ...strongWrite(10), fate: undefined }, floor)).toThrow(
    expect.objectContaining({ rule: 'I7' }),
  );
});
