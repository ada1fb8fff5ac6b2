import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { signAccessToken } from '../../scripts/access-token.ts';
import { startServer } from '../../scripts/local-server.ts';

const HERE = import.meta.dirname;
const TOKEN_TTL_SECONDS = 3600;

/** A cloud, and by which secret its tokens are signed. */
interface Cloud {
  readonly url: string;
  readonly secret: string;
}

/**
 * Serves the page and, at `/token`, a token for whoever asks for one: so for this machine alone.
 *
 * @param port 0 picks a free one
 */
export async function servePage(port: number, cloud: Cloud): Promise<{ url: string; close(): void }> {
  const files = new Map<string, readonly [type: string, content: string]>([
    ['/', ['text/html', readFileSync(path.join(HERE, 'index.html'), 'utf8')]],
    ['/style.css', ['text/css', readFileSync(path.join(HERE, 'style.css'), 'utf8')]],
    ['/app.js', ['text/javascript', await bundle('app.tsx', cloud)]],
    ['/service-worker.js', ['text/javascript', await bundle('service-worker.ts', cloud)]],
  ]);
  const server = createServer(async ({ url = '/' }, response) => {
    const { pathname, searchParams } = new URL(url, 'http://localhost');
    const [type, content] = files.get(pathname) ?? [];
    const node = searchParams.get('node');
    if (type !== undefined) {
      response.setHeader('content-type', `${type}; charset=utf-8`).end(content);
    } else if (pathname === '/token' && node !== null) {
      const grant = { space: 'demo', role: 'node', node, sub: searchParams.get('user') ?? node } as const;
      response.end(await signAccessToken(grant, { secret: cloud.secret, ttlSeconds: TOKEN_TTL_SECONDS }));
    } else {
      response.writeHead(404).end();
    }
  });
  server.listen(port, 'localhost');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('invariant broken: it listens on a port');
  return {
    url: `http://localhost:${address.port}`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function bundle(file: string, { url }: Cloud): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [path.join(HERE, file)],
    bundle: true,
    minify: true,
    format: 'esm',
    jsx: 'automatic',
    define: { ENDPOINT: JSON.stringify(`${url}/v1`), 'process.env.NODE_ENV': '"production"' },
    write: false,
  });
  return outputFiles.map(({ text }) => text).join('');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '8080' },
      'cloud-port': { type: 'string', default: '8787' },
    },
  });
  const stopping = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => resolve());
  });
  const cloud = await startServer({ port: Number(values['cloud-port']) });
  try {
    const page = await servePage(Number(values.port), cloud);
    console.log(`Field notes are at ${page.url}/?user=ann and ${page.url}/?user=bob. Ctrl-C ends it.`);
    await Promise.race([cloud.exited, stopping]);
  } finally {
    await cloud.stop();
  }
}

if (import.meta.main) {
  try {
    await main();
    process.exit(0);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(1);
  }
}
