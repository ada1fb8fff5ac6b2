import path from 'node:path';
import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-plugin';
import { configDefaults, defineConfig } from 'vitest/config';
import { SummaryReporter } from './scripts/summary-reporter.ts';

const migrationsDir = path.join(import.meta.dirname, 'migrations');

export default defineConfig(async () => ({
  test: {
    reporters: ['default', new SummaryReporter()],
    projects: [
      {
        test: {
          name: 'unit',
          // All but those that need a platform of their own, so that no new folder is forgotten.
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, 'test/{worker,http,browser}/**'],
          // No test is about speed: a busy machine gets its time.
          testTimeout: 60_000,
        },
      },
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: './wrangler.toml' },
            miniflare: {
              bindings: {
                CAUSEWAY_SECRET: 'test-secret-of-at-least-32-characters!',
                TEST_MIGRATIONS: await readD1Migrations(migrationsDir),
              },
            },
          }),
        ],
        test: {
          name: 'worker',
          include: ['test/worker/**/*.test.ts'],
          setupFiles: ['test/worker/setup.ts'],
          testTimeout: 60_000,
        },
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
      {
        test: {
          name: 'browser',
          // In a Chromium, with a real server.
          include: ['test/browser/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
}));
