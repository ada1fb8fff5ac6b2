import { expect, onTestFinished, test, vi } from 'vitest';
import { watchNetwork } from '../../src/client/network-watch.ts';

/** A platform that says it is online or not, and of what kind the link is, if it knows. */
function platform(connection?: EventTarget) {
  const scope = new EventTarget();
  const navigator = { onLine: true, connection };
  vi.stubGlobal('navigator', navigator);
  vi.stubGlobal('addEventListener', scope.addEventListener.bind(scope));
  vi.stubGlobal('removeEventListener', scope.removeEventListener.bind(scope));
  onTestFinished(() => {
    vi.unstubAllGlobals();
  });
  const turn = (onLine: boolean) => {
    navigator.onLine = onLine;
    scope.dispatchEvent(new Event(onLine ? 'online' : 'offline'));
  };
  return { turn };
}

test('[S48] a platform that only knows whether it is online says that, when it changes, and until nobody asks any more', () => {
  const { turn } = platform();
  const heard: boolean[] = [];
  const end = watchNetwork(({ online }) => heard.push(online));
  turn(false);
  turn(false);
  turn(true);
  end();
  turn(false);
  expect(heard).toEqual([true, false, true]);
});

test('[S48] one that knows of the link says so, and nothing while it is the same', () => {
  const connection = Object.assign(new EventTarget(), { effectiveType: '4g', saveData: false });
  const { turn } = platform(connection);
  const heard: unknown[] = [];
  const end = watchNetwork((network) => heard.push(network));
  const change = (changed: Partial<typeof connection>) => {
    Object.assign(connection, changed);
    connection.dispatchEvent(new Event('change'));
  };
  change({ effectiveType: '3g' });
  change({});
  change({ effectiveType: '5g', saveData: true });
  turn(false);
  end();
  change({ saveData: false });
  expect(heard).toEqual([
    { online: true, effectiveType: '4g', saveData: false },
    { online: true, effectiveType: '3g', saveData: false },
    { online: true, effectiveType: undefined, saveData: true },
    { online: false, effectiveType: undefined, saveData: true },
  ]);
});

test('[S48] where the platform says nothing, nothing is told', () => {
  const heard: unknown[] = [];
  watchNetwork((network) => heard.push(network))();
  expect(heard).toEqual([]);
});
