import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseEnv } from 'node:util';

const KEY = 'CAUSEWAY_SECRET';
/** The file's owner reads and writes, nobody else does anything. */
const PRIVATE_MODE = 0o600;

/**
 * Returns the local server's signing secret: that of the environment, else that of `.dev.vars` in `directory`, where
 * a random one (256 bits, base64url) is added if there is none. Every other line of the file is kept.
 */
export function ensureSecret(directory: string, env: NodeJS.ProcessEnv = process.env): string {
  const fromEnv = env[KEY];
  if (fromEnv !== undefined && fromEnv !== '') return fromEnv;

  const file = path.join(directory, '.dev.vars');
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const existing = parseEnv(text)[KEY];
  if (existing !== undefined && existing !== '') return existing;

  const secret = randomBytes(32).toString('base64url');
  const separator = text === '' || text.endsWith('\n') ? '' : '\n';
  writePrivateFile(file, `${text}${separator}${KEY}="${secret}"\n`);
  return secret;
}

/** Replaces `file` in one step, so that a reader or a crash never meets half of it. */
function writePrivateFile(file: string, text: string): void {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, text, { mode: PRIVATE_MODE, flag: 'wx' });
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
