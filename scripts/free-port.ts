import { createServer } from 'node:net';

/** Both are checked: a server on one of them would take part of the traffic meant for `localhost`. */
const LOOPBACKS = ['127.0.0.1', '::1'];

/** Whether nothing listens on `port` of this machine's loopback addresses. */
export async function isPortFree(port: number): Promise<boolean> {
  for (const host of LOOPBACKS) {
    const result = await tryListen(port, host);
    if (result === 'busy') return false;
  }
  return true;
}

/** A port that was free a moment ago. */
export async function findFreePort(): Promise<number> {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const port = await tryListen(0, '127.0.0.1');
    if (typeof port === 'number' && (await isPortFree(port))) return port;
  }
  throw new Error('found no free port');
}

/** Listens and closes again: the port it got, or why it got none. */
function tryListen(port: number, host: string): Promise<number | 'busy' | 'no-such-address'> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve('busy');
      // A machine without IPv6 has nobody listening there either.
      else if (error.code === 'EADDRNOTAVAIL' || error.code === 'EAFNOSUPPORT') resolve('no-such-address');
      else if (error.code === 'EACCES') reject(new Error(`port ${port} needs more rights than this user has`));
      else reject(error);
    });
    server.listen({ port, host, exclusive: true }, () => {
      const address = server.address();
      const got = typeof address === 'object' && address !== null ? address.port : port;
      server.close(() => resolve(got));
    });
  });
}
