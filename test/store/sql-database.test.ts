import { expect, test } from 'vitest';
import { nodeSqlite } from '../../src/store/node-sqlite.ts';
import { applySchema } from '../../src/store/sql-database.ts';

test('schema steps run once each, in order, and a database of a newer version is left alone', () => {
  const db = nodeSqlite(':memory:');
  const first = 'CREATE TABLE a (x INTEGER) STRICT';
  const second = 'ALTER TABLE a ADD COLUMN y INTEGER';
  applySchema(db, [first]);
  db.all('INSERT INTO a (x) VALUES (1)');
  applySchema(db, [first, second]);
  applySchema(db, [first, second]);
  expect(db.all('SELECT x, y FROM a')).toEqual([{ x: 1, y: null }]);
  expect(() => applySchema(db, [first])).toThrow('newer version');
  expect(() => applySchema(db, [first, second, 'CREATE TABLE b (x INTEGER) STRICT', 'nonsense'])).toThrow();
  expect(() => db.all('SELECT * FROM b')).toThrow('no such table');
  db.close();
});
