import { expect, test } from 'vitest';
import { exposition, type Family } from '../../src/protocol/exposition.ts';

const family = (over: Partial<Family>): Family => ({ name: 'x', type: 'gauge', help: 'What.', samples: [], ...over });

test('[S36] metrics are families, each with its help, its type, and a line for each sample', () => {
  const samples = [
    { labels: {}, value: 1.5 },
    { labels: { a: '1', b: '2' }, value: 2, suffix: '_bucket' },
  ];
  const text = exposition([family({ name: 'one', type: 'histogram', samples }), family({ name: 'two' })]);
  expect(text).toBe(`# HELP one What.
# TYPE one histogram
one 1.5
one_bucket{a="1",b="2"} 2
# HELP two What.
# TYPE two gauge
`);
  expect(exposition([])).toBe('');
});

test('[S36] a label may be any text: quotes, backslashes and line ends in it end nothing', () => {
  const hostile = 'a"} 1\nfake{b="\\" \\n é';
  const text = exposition([family({ help: 'a\\b\n"c"', samples: [{ labels: { label: hostile }, value: 0 }] })]);
  expect(text.split('\n')).toEqual([
    String.raw`# HELP x a\\b\n"c"`,
    '# TYPE x gauge',
    String.raw`x{label="a\"} 1\nfake{b=\"\\\" \\n é"} 0`,
    '',
  ]);
});

test('[S36] numbers that are none, or beyond all others, have names of their own', () => {
  const values = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e21, -0.5];
  const text = exposition([family({ samples: values.map((value) => ({ labels: {}, value })) })]);
  expect(text.split('\n').slice(2, -1)).toEqual(['x NaN', 'x +Inf', 'x -Inf', 'x 1e+21', 'x -0.5']);
});
