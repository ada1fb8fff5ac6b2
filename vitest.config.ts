import { existsSync } from 'node:fs';
import path from 'node:path';
import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-plugin';
import { defineConfig } from 'vitest/config';
import { SummaryReporter } from './scripts/summary-reporter.ts';

const migrationsDir = path.join(import.meta.dirname, 'migrations');

export default defineConfig(async () => ({
  test: {
    passWithNoTests: true,
    reporters: ['default', new SummaryReporter()],
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'test/*.test.ts',
            'test/{core,protocol,sync,store,transport,contract,sim,api,client,scripts}/**/*.test.ts',
          ],
        },
      },
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: './wrangler.toml' },
            miniflare: {
              bindings: {
                CAUSEWAY_SECRET: 'test-secret-of-at-least-32-characters!',
                // A checkout without the folder has no D1 schema yet.
                TEST_MIGRATIONS: existsSync(migrationsDir) ? await readD1Migrations(migrationsDir) : [],
              },
            },
          }),
        ],
        test: { name: 'worker', include: ['test/worker/**/*.test.ts'], setupFiles: ['test/worker/setup.ts'] },
      },
      {
        test: {
          name: 'http',
          include: ['test/http/**/*.test.ts'],
          // Each file starts a real server: one at a time, and with time for it.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
}));
