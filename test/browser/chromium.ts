import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import bundled from '@sparticuz/chromium';
import { type Browser, chromium } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/**
 * A Chromium without a window: that of the environment variable CHROMIUM, one on the PATH, or the one that comes with the
 * packages (for Linux on x64).
 */
export async function launchChromium(): Promise<Browser> {
  const executablePath = process.env['CHROMIUM'] ?? onPath() ?? (await ofPackages());
  try {
    return await chromium.launch({ executablePath, args: ARGUMENTS });
  } catch (error) {
    throw new Error(`${executablePath} does not start. ${HELP}`, { cause: error });
  }
}

const ARGUMENTS = [
  // As root there is no sandbox, and in a container little shared memory; the pages are the test's own.
  '--no-sandbox',
  '--disable-dev-shm-usage',
  // They are given to the browser by the test, and so of no network that may use this machine's.
  '--disable-features=LocalNetworkAccessChecks',
];

const HELP =
  'The tests in a browser need a Chromium: install one (on Debian: apt-get install chromium), or name one by the ' +
  'environment variable CHROMIUM.';

function onPath(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter);
  return folders.flatMap((folder) => NAMES.map((name) => path.join(folder, name))).find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function ofPackages(): Promise<string> {
  if (process.platform === 'linux' && process.arch === 'x64') return await bundled.executablePath();
  throw new Error(HELP);
}
