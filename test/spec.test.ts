import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '..');
const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

/** In their order, each once. */
function idsIn(texts: readonly string[], pattern: RegExp): string[] {
  const ids = texts.flatMap((text) => [...text.matchAll(pattern)].map(([, id = '']) => id));
  return [...new Set(ids)].sort((one, other) => one.localeCompare(other, 'en', { numeric: true }));
}

test('each rule of docs/SPEC.md is quoted by the title of a test, and each title quotes a rule that is there', () => {
  const rules = idsIn([read('docs/SPEC.md')], /^(?:\| |- \*\*)([A-Z]\d+) /gm);
  const unnamed = read('docs/SPEC.md').match(/^- \*\*(?!S\d+ ).*/gm) ?? [];
  const code = globSync('test/**/*.ts', { cwd: ROOT }).map(read);
  const titles = code.flatMap((text) => text.match(/['"`](?:\[[A-Z]\d+\] )+/g) ?? []);
  expect(unnamed).toEqual([]);
  expect(rules.length).toBeGreaterThan(30);
  expect(idsIn(titles, /\[([A-Z]\d+)\]/g)).toEqual(rules);
});

test('titles put the ids of their rules into brackets, where a search finds them', () => {
  const loose = globSync('test/**/*.ts', { cwd: ROOT }).filter((file) => /['"`]I\d+[: ]/.test(read(file)));
  expect(loose).toEqual([]);
});
