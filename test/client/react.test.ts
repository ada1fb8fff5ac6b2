// @vitest-environment happy-dom
/// <reference lib="dom" />
import { act, createElement, useLayoutEffect } from 'react';
import { createRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { expect, onTestFinished, test, vi } from 'vitest';
import { EdgeCloudClient } from '../../src/client/client.ts';
import { useSyncStatus } from '../../src/client/react.ts';

vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', true);

function newClient(): EdgeCloudClient {
  return new EdgeCloudClient({
    ...{ nodeId: 'a', cloudEndpoint: 'http://localhost/v1', token: 'none', live: false },
    fetch: async () => {
      throw new Error('there is no cloud here');
    },
  });
}

function Shown({ client }: { client: EdgeCloudClient }) {
  const status = useSyncStatus(client);
  return createElement(
    'p',
    {},
    status === null ? 'closed' : `${status.online ? status.state : 'cut off'}, ${status.queue.pending} wait`,
  );
}

/** Cuts the link before {@link Shown} listens. */
function Cutting({ client }: { client: EdgeCloudClient }) {
  useLayoutEffect(() => client.setNetwork({ online: false }), [client]);
  return createElement(Shown, { client });
}

test('[S53] a component shows how the sync is, from before the client is open until it is closed', async () => {
  const client = newClient();
  expect(renderToString(createElement(Shown, { client }))).toBe('<p>closed</p>');
  const place = document.createElement('div');
  const root = createRoot(place);
  onTestFinished(() => act(() => root.unmount()));
  await act(async () => root.render(createElement(Shown, { client })));
  expect(place.textContent).toBe('closed');
  await act(async () => {
    await client.initialize();
    await client.sync();
  });
  expect(place.textContent).toBe('offline, 0 wait');
  await act(async () => {
    for (const id of ['x', 'y']) await client.write('note', id, {});
  });
  expect(place.textContent).toBe('offline, 2 wait');
  await act(() => client.close());
  expect(place.textContent).toBe('closed');
});

test('[S53] a component that is shown again with another client shows that one', async () => {
  const [a, b] = [newClient(), newClient()];
  for (const client of [a, b]) {
    await client.initialize();
    onTestFinished(() => client.close());
    await client.sync();
  }
  await b.write('note', 'x', {});
  const place = document.createElement('div');
  const root = createRoot(place);
  onTestFinished(() => act(() => root.unmount()));
  await act(async () => root.render(createElement(Shown, { client: a })));
  expect(place.textContent).toBe('offline, 0 wait');
  await act(async () => root.render(createElement(Shown, { client: b })));
  expect(place.textContent).toBe('offline, 1 wait');
  await act(async () => void (await a.write('note', 'y', {})));
  expect(place.textContent).toBe('offline, 1 wait');
});

test('[S53] what happens before the component listens is shown too', async () => {
  const client = newClient();
  await client.initialize();
  onTestFinished(() => client.close());
  await client.sync();
  const place = document.createElement('div');
  const root = createRoot(place);
  onTestFinished(() => act(() => root.unmount()));
  await act(async () => root.render(createElement(Cutting, { client })));
  expect(place.textContent).toBe('cut off, 0 wait');
  await act(async () => client.setNetwork({ online: true }));
  expect(place.textContent).toBe('offline, 0 wait');
  // The link stays as it was, and is cut for all that.
  await act(async () => client.setNetwork({ online: false }));
  expect(place.textContent).toBe('cut off, 0 wait');
});
