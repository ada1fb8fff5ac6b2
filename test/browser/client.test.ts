import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { signAccessToken } from '../../scripts/access-token.ts';
import { type LocalServer, startServer } from '../../scripts/local-server.ts';
import { EdgeCloudClient } from '../../src/client/client.ts';
import { launchChromium } from './chromium.ts';

const SECRET = 'a-secret-for-tests-of-at-least-32-characters';

let browser: Browser;
let server: LocalServer;
let script: string;
let spaces = 0;
const folder = mkdtempSync(path.join(tmpdir(), 'causeway-browser-'));

beforeAll(async () => {
  const bundle = await build({
    entryPoints: [path.join(import.meta.dirname, 'page.ts')],
    bundle: true,
    format: 'esm',
    write: false,
  });
  script = bundle.outputFiles[0]?.text ?? '';
  [browser, server] = await Promise.all([
    launchChromium(),
    startServer({ port: 0, persistTo: path.join(folder, 'server'), secret: SECRET }),
  ]);
});

afterAll(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Somebody with a browser of his own, and a space of his own. */
async function person() {
  spaces += 1;
  const space = `browser-${spaces}`;
  const tokenOf = (node: string) =>
    signAccessToken({ space, role: 'node', node, sub: 'somebody' }, { secret: SECRET, ttlSeconds: 3_600 });
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  // The page is of the server's origin, and there also without a network.
  const page = `${server.url}/page`;
  await context.route(page, (route) =>
    route.fulfill({ contentType: 'text/html', body: `<script type="module">${script}</script>` }),
  );
  const options = { nodeId: 'phone', cloudEndpoint: `${server.url}/v1`, token: await tokenOf('phone') };
  const tab = async () => {
    const opened = await context.newPage();
    opened.on('pageerror', (error) => expect.unreachable(error.message));
    await opened.goto(page);
    await start(opened);
    return opened;
  };
  const start = (opened: Page) => opened.evaluate((given) => app.start(given), options);
  /** What the cloud has. */
  const cloud = async () => {
    const client = new EdgeCloudClient({ ...options, nodeId: 'reader', token: await tokenOf('reader') });
    await client.initialize();
    expect((await client.sync()).success).toBe(true);
    const ids: string[] = [];
    for (let after: string | null = ''; after !== null; ) {
      const { items, next } = await client.list('note', { after, limit: 1_000 });
      ids.push(...items.map(({ entityId }) => entityId));
      after = next;
    }
    const count = await client.read('note', 'count');
    await client.close();
    return { ids, count: count?.data['n'] };
  };
  return { context, tab, start, cloud };
}

async function setOffline(context: BrowserContext, tab: Page, offline: boolean): Promise<void> {
  await context.setOffline(offline);
  await tab.waitForFunction((online) => app.client.status().online === online, !offline);
}

test('[I1] [S46] [S48] what was written without a network is there when the page is loaded again, and goes out with it', async () => {
  const { context, tab, start, cloud } = await person();
  const page = await tab();
  await setOffline(context, page, true);
  await page.evaluate(() => app.write('a'));
  await page.reload();
  await start(page);
  expect(await page.evaluate(() => app.ids())).toEqual(['a']);
  const left = page.evaluate(async () => (await app.client.write('note', 'b', {})).settled);
  await setOffline(context, page, false);
  expect((await left).status).toBe('applied');
  expect((await cloud()).ids).toEqual(['a', 'b']);
});

test('[S47] two tabs are one client: each sees at once what the other writes, and both hear what becomes of it', async () => {
  const { tab, cloud } = await person();
  const [one, other] = [await tab(), await tab()];
  const heard = (page: Page, what: string) => page.waitForFunction((wanted) => app.heard.includes(wanted), what);
  await one.evaluate(() => app.write('of-one'));
  await heard(other, 'create of-one');
  await other.evaluate(() => app.write('of-other'));
  await heard(one, 'create of-other');
  for (const page of [one, other]) {
    expect(await page.evaluate(() => app.ids())).toEqual(['of-one', 'of-other']);
    expect(await page.evaluate(async () => await Promise.all(app.settled))).toMatchObject([{ status: 'applied' }]);
    expect(await page.evaluate(() => app.client.status().nodeId)).toBe('phone');
  }
  expect((await cloud()).ids).toEqual(['of-one', 'of-other']);
});
