import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import type { Browser, BrowserContext, Page, Route } from 'playwright-core';
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
  const tokenOf = (node: string, sub = 'somebody') =>
    signAccessToken({ space, role: 'node', node, sub }, { secret: SECRET, ttlSeconds: 3_600 });
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  // The page is of the server's origin, and there also without a network.
  const page = `${server.url}/page`;
  await context.route(page, (route) =>
    route.fulfill({ contentType: 'text/html', body: `<script type="module">${script}</script>` }),
  );
  const options = {
    nodeId: 'phone',
    cloudEndpoint: `${server.url}/v1`,
    token: await tokenOf('phone'),
    consistencyRules: { ledger: { level: 'strong' } } as const,
  };
  const open = async () => {
    const opened = await context.newPage();
    opened.on('pageerror', (error) => expect.unreachable(error.message));
    await opened.goto(page);
    return opened;
  };
  const tab = async (user?: string) => {
    const opened = await open();
    await start(opened, user);
    return opened;
  };
  const start = async (opened: Page, user?: string) => {
    await opened.evaluate((given) => app.start(given), { ...options, token: await tokenOf('phone', user) });
  };
  /** Makes dead letters of all that is written. */
  const refuse = async () => {
    const refused = async (route: Route) => {
      const response = await route.fetch();
      const answer = await response.json();
      for (const result of answer.results) Object.assign(result, { status: 'rejected', code: 'invalid_data' });
      await route.fulfill({ response, json: answer });
    };
    // It may be of a page that is gone by then.
    await context.route('**/sync/exchange', (route) => refused(route).catch(() => undefined));
  };
  /** What the cloud has. */
  const cloud = async () => {
    const client = new EdgeCloudClient({ ...options, nodeId: 'reader', token: await tokenOf('reader') });
    await client.initialize();
    expect((await client.sync()).success).toBe(true);
    const ids: string[] = [];
    for (let after: string | null = ''; after !== null; ) {
      const page: Awaited<ReturnType<typeof client.list>> = await client.list('note', { after, limit: 1_000 });
      ids.push(...page.items.map(({ entityId }) => entityId));
      after = page.next;
    }
    const { items } = await client.list('count');
    await client.close();
    return { ids, count: Object.fromEntries(items.map(({ entityId, data }) => [entityId, data['n']])) };
  };
  return { context, open, tab, start, refuse, cloud };
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

test('[S47] [S53] a collection in any tab goes from the guess to what is durable without a flicker, at any level', async () => {
  const { tab } = await person();
  const tabs = [await tab(), await tab()];
  for (const page of tabs) {
    for (const entityType of ['draft', 'ledger']) {
      const told = await page.evaluate((type) => app.collect(type), entityType);
      expect(told).toEqual(['insert x 1?', 'update x 1', 'update x 2?', 'update x 2', 'delete x 2']);
    }
  }
});

test('[S47] [S53] each tab shows how the sync is, from before its client is open until it is closed', async () => {
  const { context, tab } = await person();
  const shows = (page: Page, text: string) => page.waitForFunction((wanted) => app.shown.at(-1) === wanted, text);
  const one = await tab();
  await shows(one, 'online, 0 wait');
  await context.setOffline(true);
  await shows(one, 'cut off, 0 wait');
  // Nothing happens that it could hear of.
  const other = await tab();
  await shows(other, 'cut off, 0 wait');
  for (const page of [one, other]) expect(await page.evaluate(() => app.shown[0])).toBe('closed');
  for (const [index, page] of [one, other].entries()) {
    await page.evaluate((id) => app.write(id), `note-${index}`);
    for (const each of [one, other]) await shows(each, `cut off, ${index + 1} wait`);
  }
  await context.setOffline(false);
  for (const page of [one, other]) await shows(page, 'online, 0 wait');
  await other.evaluate(() => app.client.close());
  await shows(other, 'closed');
  await shows(one, 'online, 0 wait');
});

test('[S47] [S52] a tab that does not lead refuses what is no JSON, and lists, sends again and discards dead letters', async () => {
  const { tab, refuse } = await person();
  const [one, other] = [await tab(), await tab()];
  const refused = await other.evaluate(async () => {
    const codeOf = (refusal: Promise<unknown>) => refusal.then(String, ({ code }) => code);
    return [
      await codeOf(app.client.write('note', 'x', { at: new Date() } as never)),
      // Which would not even get to the other tab.
      await codeOf(app.client.write('note', 'x', { f: () => 1 } as never)),
      await codeOf(app.client.transact([{ entityType: 'note', entityId: 'x', kind: 'put', data: { n: Number.NaN } }])),
    ];
  });
  expect(refused).toEqual(['invalid_data', 'invalid_data', 'invalid_data']);
  await refuse();
  await other.evaluate(() => app.write('x'));
  expect(await other.evaluate(() => Promise.all(app.settled))).toMatchObject([
    { changeId: 'phone:1', status: 'rejected' },
  ]);
  const [again, ids] = await other.evaluate(async () => {
    const [letter] = await app.client.deadLetters();
    const { settled } = await app.client.retryDead(letter?.changeId ?? '');
    return [await settled, (await app.client.deadLetters()).map(({ changeId }) => changeId)] as const;
  });
  expect(again).toMatchObject({ changeId: 'phone:2', status: 'rejected' });
  expect(ids).toEqual(['phone:2']);
  await other.evaluate(() => app.client.discardDead('phone:2'));
  expect(await one.evaluate(() => app.client.deadLetters())).toEqual([]);
});

test('[I2] [S47] [S52] a dead letter whose tab that leads dies before it answers is sent again, and discarded, once', async () => {
  const { tab, refuse } = await person();
  const [leading, other] = [await tab(), await tab()];
  await refuse();
  await leading.evaluate(() => app.write('x'));
  await leading.evaluate(() => Promise.all(app.settled));
  await leading.evaluate(() => {
    BroadcastChannel.prototype.postMessage = () => undefined;
  });
  const sent = other.evaluate(async () => {
    const { changeId, settled } = await app.client.retryDead('phone:1');
    return { changeId, settledAs: (await settled).changeId };
  });
  const deadAt = (page: Page) =>
    page.evaluate(async () => (await app.client.deadLetters()).map(({ changeId }) => changeId));
  await expect.poll(() => deadAt(leading), { timeout: 30_000 }).toEqual(['phone:2']);
  await crash(leading);
  expect(await sent).toEqual({ changeId: 'phone:2', settledAs: 'phone:2' });
  expect(await deadAt(other)).toEqual(['phone:2']);
  const third = await tab();
  await other.evaluate(() => {
    BroadcastChannel.prototype.postMessage = () => undefined;
  });
  const discarded = third.evaluate(() => app.client.discardDead('phone:2'));
  await expect.poll(() => deadAt(other), { timeout: 30_000 }).toEqual([]);
  await crash(other);
  await discarded;
  expect(await deadAt(third)).toEqual([]);
});

test('[S47] a tab that is closed is followed by the next one, which goes on with what the first one wrote', async () => {
  const { tab, cloud } = await person();
  const [one, other] = [await tab(), await tab()];
  await one.evaluate(() => app.write('a'));
  await one.evaluate(() => app.client.close());
  const receipt = await other.evaluate(async () => {
    const { changeId, settled } = await app.client.write('note', 'b', {});
    return { changeId, status: (await settled).status };
  });
  // One node, one row of counters: not another life of it.
  expect(receipt).toEqual({ changeId: 'phone:2', status: 'applied' });
  expect(await other.evaluate(() => app.ids())).toEqual(['a', 'b']);
  expect((await cloud()).ids).toEqual(['a', 'b']);
});

test('[I1] [I2] [S47] of tabs that are killed in mid-sync nothing is lost that was acknowledged, and nothing is done twice', async () => {
  const { context, tab, cloud } = await person();
  const acknowledged: string[] = [];
  await context.exposeFunction('acknowledge', (id: string) => {
    acknowledged.push(id);
    return doomed.length === 0 && acknowledged.length > 60;
  });
  const tabs = [await tab(), await tab(), await tab(), await tab()];
  const [last] = tabs.slice(-1);
  if (last === undefined) throw new Error('there is no tab');
  // Each that leads dies within an exchange: now before the cloud has it, now before its answer is here.
  const doomed = tabs.slice(0, -1);
  const crashes: Promise<void>[] = [];
  let exchanges = 0;
  await context.route('**/sync/exchange', async (route) => {
    exchanges += 1;
    const leading = exchanges % 3 === 0 ? doomed.shift() : undefined;
    if (leading === undefined) return await route.continue();
    if (doomed.length % 2 === 0) await route.fetch();
    crashes.push(crash(leading));
  });
  const done = tabs.map((each, index) => each.evaluate((prefix) => app.writeMany(prefix), `tab-${index}-`));
  for (const each of done.slice(0, -1)) each.catch(() => undefined);
  await done.at(-1);
  await Promise.all(crashes);
  await last.evaluate(() => Promise.all(app.settled));
  // What the dead tabs have left goes out too.
  await last.evaluate(async () => {
    do await app.client.sync();
    while (app.client.status().queue.total > 0);
  });
  const there = await cloud();
  expect(crashes).toHaveLength(3);
  expect(acknowledged.filter((id) => !there.ids.includes(id))).toEqual([]);
  // Every write that was acknowledged has counted one; those of the dead tabs may have been done without a word.
  expect(there.count['tab-3-']).toBe(acknowledged.filter((id) => id.startsWith('tab-3-')).length);
  expect(await last.evaluate(async () => [...new Set(await app.ids())])).toEqual(there.ids);
});

test('[I2] [S37] [S47] a write whose answer died with the tab that leads is done once, and is settled', async () => {
  const { tab, cloud } = await person();
  const [leading, other] = [await tab(), await tab()];
  await leading.evaluate(() => app.count('a'));
  // It does what it is asked for, and is never heard of again.
  await leading.evaluate(() => {
    BroadcastChannel.prototype.postMessage = () => undefined;
  });
  const written = other.evaluate(async () => {
    const add = { op: 'increment', path: 'n', value: 1 } as const;
    const { changeId, settled } = await app.client.patch('count', 'a', [add]);
    return { changeId, settledAs: (await settled).changeId };
  });
  await expect.poll(async () => (await cloud()).count, { timeout: 30_000 }).toEqual({ a: 2 });
  await crash(leading);
  expect(await written).toEqual({ changeId: 'phone:2', settledAs: 'phone:2' });
  expect(await other.evaluate(() => app.client.read('count', 'a'))).toMatchObject({ data: { n: 2 }, synced: true });
  expect((await cloud()).count).toEqual({ a: 2 });
});

test('[I1] [S46] a full disk is told as such; what was acknowledged before is there, is read, and goes out', async () => {
  const { context, open, start, cloud } = await person();
  const [page, other] = [await open(), await open()];
  const setQuota = await quotaOf(context, page);
  await setQuota(500_000);
  await start(page);
  await start(other);
  await page.evaluate(() => app.count('a'));
  await page.evaluate(() => Promise.all(app.settled));
  await setOffline(context, page, true);
  const kept: string[] = [];
  for (const each of [page, other, page, other]) {
    const { error, before } = await each.evaluate(() => app.fill());
    kept.push(...before);
    expect(error).toBe('storage_full');
    expect(await each.evaluate(() => app.ids())).toEqual(kept.toSorted());
  }
  expect(kept.length).toBeGreaterThan(2);
  // What the cloud says of it can't be kept: so it is sent again, until it can. It waits longer each time; who doesn't
  // want to wait says that the network is there.
  await context.setOffline(false);
  await page.evaluate(() => app.client.setNetwork({ online: true }));
  await expect.poll(async () => (await cloud()).ids.length, { timeout: 30_000 }).toBeGreaterThan(0);
  await setQuota(undefined);
  await other.evaluate(() => app.client.setNetwork({ online: true }));
  for (const each of [page, other]) await each.evaluate(() => Promise.all(app.settled));
  for (const each of [page, other]) await each.evaluate(() => app.count('a'));
  for (const each of [page, other]) await each.evaluate(() => Promise.all(app.settled));
  expect(await cloud()).toEqual({ ids: kept.toSorted(), count: { a: 3 } });
  // Nobody has seen what was not kept.
  expect(await other.evaluate(() => app.heard.length)).toBe(kept.length + 3);
});

test('[S46] ten thousand records are written, are there when the page is loaded again, and go out', async () => {
  const { context, tab, start, cloud } = await person();
  const page = await tab();
  await setOffline(context, page, true);
  const ids = await page.evaluate(async () => {
    const all = Array.from({ length: 10_000 }, (_, index) => `n${String(index).padStart(5, '0')}`);
    await Promise.all(all.map((id) => app.client.write('note', id, { id })));
    return all;
  });
  await page.reload();
  await start(page);
  expect(await page.evaluate(() => app.ids())).toEqual(ids);
  await context.setOffline(false);
  await page.evaluate(async () => (await app.client.write('note', 'z', {}, { priority: 'normal' })).settled);
  expect((await cloud()).ids).toEqual([...ids, 'z']);
});

test("[I9] [S47] a tab of another user is refused, and its writes are nobody else's", async () => {
  const { tab, cloud } = await person();
  const mine = await tab();
  await mine.evaluate(() => app.write('mine'));
  const theirs = await tab('somebody-else');
  const refused = () => app.write('theirs').then(String, ({ code }) => code);
  expect(await theirs.evaluate(refused)).toBe('forbidden');
  await mine.evaluate(() => Promise.all(app.settled));
  expect((await cloud()).ids).toEqual(['mine']);
});

test('[S48] a client follows the network, as the browser says it, until it is closed', async () => {
  const { context, tab } = await person();
  const page = await tab();
  const states = () => page.evaluate(() => app.client.status().online);
  await setOffline(context, page, true);
  expect(await states()).toBe(false);
  const settled = page.evaluate(async () => (await app.client.write('note', 'a', {})).settled);
  await setOffline(context, page, false);
  expect((await settled).status).toBe('applied');
  expect(await page.evaluate(() => app.client.status().plan.reason)).toBe('the link is 4g');
  await page.evaluate(() => app.client.close());
  await context.setOffline(true);
  await page.waitForFunction(() => !navigator.onLine);
});

async function crash(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const crashed = page.waitForEvent('crash');
  session.send('Page.crash').catch(() => undefined);
  await crashed;
}

/** Sets how much a site may keep; undefined: what the browser likes. */
async function quotaOf(context: BrowserContext, page: Page) {
  const session = await context.newCDPSession(page);
  const { origin } = new URL(page.url());
  return async (quotaSize: number | undefined) => {
    await session.send('Storage.overrideQuotaForOrigin', { origin, ...(quotaSize === undefined ? {} : { quotaSize }) });
  };
}
