/** What the tests in workerd find in `env` and `exports` of `cloudflare:workers`; the bindings are wrangler.toml's. */
declare namespace Cloudflare {
  interface GlobalProps {
    mainModule: typeof import('../../src/worker.ts');
    durableNamespaces: 'EdgeNode' | 'CloudSpace';
  }
  interface Env {
    EDGE: DurableObjectNamespace<import('../../src/worker.ts').EdgeNode>;
    CLOUD: DurableObjectNamespace<import('../../src/worker.ts').CloudSpace>;
    DB: D1Database;
    CAUSEWAY_SECRET: string;
    TEST_MIGRATIONS: import('cloudflare:test').D1Migration[];
  }
}
