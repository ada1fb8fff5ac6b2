import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { signAccessToken } from '../access-token.ts';
import { startServer } from '../local-server.ts';

/** A server for one run of the demo. */
export interface OwnServer {
  readonly url: string;
  /** For an admin of the space `demo`. */
  readonly token: string;
  /** The last lines that the Worker has logged. */
  readonly log: readonly string[];
  /** Ends the server and removes its state. */
  close(): Promise<void>;
}

const TOKEN_TTL_SECONDS = 3_600;
const MAX_LOG_LINES = 20;

/** Starts the Worker on a free port, with a secret and a state folder of its own; leaves nothing when it fails. */
export async function startOwnServer(): Promise<OwnServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-demo-'));
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  try {
    const log: string[] = [];
    const server = await startServer({
      port: 0,
      persistTo: folder,
      secret: randomBytes(32).toString('base64url'),
      onLog: (line) => {
        log.push(line);
        if (log.length > MAX_LOG_LINES) log.shift();
      },
    });
    const token = await signAccessToken(
      { space: 'demo', role: 'admin', sub: 'demo' },
      { secret: server.secret, ttlSeconds: TOKEN_TTL_SECONDS },
    );
    const close = async () => {
      await server.stop();
      remove();
    };
    return { url: server.url, token, log, close };
  } catch (error) {
    remove();
    throw error;
  }
}
