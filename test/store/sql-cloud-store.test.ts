import { expect, test } from 'vitest';
import { nodeSqlite } from '../../src/store/node-sqlite.ts';
import { SqlCloudStore } from '../../src/store/sql-cloud-store.ts';
import type { SqlDatabase } from '../../src/store/sql-database.ts';
import { checkSchemaUpgrade } from '../contract/cloud-schema.ts';

test('a database that was made before conflicts had a feed is brought up, with all that it held', () => {
  const db = nodeSqlite(':memory:');
  checkSchemaUpgrade(db);
  db.close();
});

test('[I10] the inbox and the feed of conflicts are read by their indexes', () => {
  const db = nodeSqlite(':memory:');
  const plans: string[] = [];
  const explained: SqlDatabase = {
    transaction: (body) => db.transaction(body),
    all: (sql, ...params) => {
      if (sql.startsWith('SELECT value FROM conflicts')) {
        plans.push(
          db
            .all(`EXPLAIN QUERY PLAN ${sql}`, ...params)
            .map(({ detail }) => detail)
            .join('; '),
        );
      }
      return db.all(sql, ...params);
    },
  };
  const store = new SqlCloudStore(explained);
  store.listConflicts({ status: 'open', after: '', limit: 10 });
  store.listConflicts({ status: 'open', entityTypes: ['task'], after: 'c1', limit: 10 });
  store.readConflictsAfter(3, 10);
  expect(plans).toHaveLength(3);
  expect(plans[0]).toMatch(/^SEARCH conflicts USING (COVERING )?INDEX open_conflicts \(id>\?\)/);
  expect(plans[1]).toMatch(/^SEARCH conflicts USING (COVERING )?INDEX open_conflicts \(id>\?\)/);
  expect(plans[2]).toMatch(/^SEARCH conflicts USING INDEX conflict_feed \(revision>\?\)/);
  for (const plan of plans) expect(plan).not.toMatch(/SCAN conflicts|TEMP B-TREE/);
  db.close();
});
