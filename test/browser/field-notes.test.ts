import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { servePage } from '../../examples/field-notes/server.ts';
import { type LocalServer, startServer } from '../../scripts/local-server.ts';
import { launchChromium } from './chromium.ts';

const SECRET = 'a-secret-for-tests-of-at-least-32-characters';
/** A picture of one pixel. */
const PHOTO = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==',
  'base64',
);

let browser: Browser;
let server: LocalServer;
let page: Awaited<ReturnType<typeof servePage>>;
const folder = mkdtempSync(path.join(tmpdir(), 'causeway-browser-'));

beforeAll(async () => {
  [browser, server] = await Promise.all([
    launchChromium(),
    startServer({ port: 0, persistTo: path.join(folder, 'server'), secret: SECRET }),
  ]);
  page = await servePage(0, server);
});

afterAll(async () => {
  await browser?.close();
  page?.close();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A person with a browser of their own, and what they do with the page. */
async function person(user: string) {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  const tab = await context.newPage();
  tab.on('pageerror', (error) => expect.unreachable(error.message));
  await tab.goto(`${page.url}/?user=${user}`);
  await tab.evaluate(async () => void (await navigator.serviceWorker.ready));
  const note = (title: string) => tab.getByRole('article', { name: title, exact: true });
  const form = (name: string) => tab.getByRole('form', { name });
  return {
    context,
    tab,
    note,
    form,
    add: async (title: string, text: string) => {
      await form('Add').getByLabel('Title').fill(title);
      await form('Add').getByLabel('Text').fill(text);
      await form('Add').getByRole('button', { name: 'Add' }).click();
      await note(title).waitFor();
    },
    edit: async (title: string, field: string, value: string) => {
      await note(title).getByRole('button', { name: 'Edit' }).click();
      await form('Save').getByLabel(field).fill(value);
      await form('Save').getByRole('button', { name: 'Save' }).click();
    },
    shows: (text: string) => tab.getByText(text, { exact: true }).first().waitFor(),
    status: async (text: string | RegExp) => await tab.getByRole('status').filter({ hasText: text }).waitFor(),
    conflicts: () => tab.getByRole('complementary', { name: 'Conflicts' }).getByRole('paragraph').allInnerTexts(),
  };
}

/** What the page shows of its notes. */
async function all(tab: Page) {
  return await tab.getByRole('article').evaluateAll((articles) =>
    articles.map((article) => ({
      title: article.querySelector('h2')?.textContent,
      text: article.querySelector('p')?.textContent,
      done: article.querySelector('input')?.checked,
      photo: article.querySelector('img')?.src.slice(0, 23),
    })),
  );
}

test('[I1] [S46] [S53] the field notes of two people: offline one adds, edits what the other edits too, and loads the page again; then both have all, and the conflict is told', async () => {
  const [ann, bob, eve] = [await person('ann'), await person('bob'), await person('eve')];
  await ann.add('Bridge', 'Two planks are loose');
  await bob.note('Bridge').waitFor();

  await bob.context.setOffline(true);
  await bob.status('offline');
  await bob.form('Add').getByLabel('Photo').setInputFiles({ name: 'well.png', mimeType: 'image/png', buffer: PHOTO });
  await bob.add('Well', 'Dry');
  await bob.edit('Bridge', 'Text', 'Three planks are loose');
  await bob.shows('Three planks are loose');
  // What is shown at once is kept a moment later.
  await bob.status('offline, 2 to send');
  await bob.tab.reload();
  await bob.status('offline, 2 to send');
  await bob.shows('Three planks are loose');
  expect((await all(bob.tab)).map(({ title }) => title)).toEqual(['Well', 'Bridge']);

  await ann.edit('Bridge', 'Title', 'The old bridge');
  await ann.note('The old bridge').getByLabel('Done').check();
  await eve.note('The old bridge').getByRole('checkbox', { checked: true }).waitFor();

  await bob.context.setOffline(false);
  await bob.note('The old bridge').waitFor();
  await bob.status(/, 0 to send/);
  await ann.note('Well').waitFor();
  await ann.shows('Three planks are loose');
  const both = [
    { title: 'Well', text: 'Dry', done: false, photo: 'data:image/jpeg;base64,' },
    { title: 'The old bridge', text: 'Three planks are loose', done: true, photo: undefined },
  ];
  expect(await all(ann.tab)).toEqual(both);
  expect(await all(bob.tab)).toEqual(both);
  await expect
    .poll(bob.conflicts)
    .toEqual(['The old bridge Somebody else changed it too: what each of you changed is kept.']);
  expect(await ann.conflicts()).toEqual([]);

  await ann.note('Well').getByRole('button', { name: 'Delete' }).click();
  await bob.note('Well').waitFor({ state: 'detached' });
});

test('[S53] what others change of a note while its form is open stays', async () => {
  const [ann, bob] = [await person('ann'), await person('bob')];
  await ann.add('Gate', 'Open');
  await bob.note('Gate').getByRole('button', { name: 'Edit' }).click();
  await ann.edit('Gate', 'Text', 'Closed');
  // Where no form hides it.
  const other = await bob.context.newPage();
  await other.goto(`${page.url}/?user=bob`);
  await other.getByText('Closed', { exact: true }).waitFor();
  await bob.form('Save').getByLabel('Title').fill('The gate');
  await bob.form('Save').getByRole('button', { name: 'Save' }).click();
  for (const each of [ann, bob]) {
    await each.note('The gate').getByText('Closed', { exact: true }).waitFor();
  }
});
