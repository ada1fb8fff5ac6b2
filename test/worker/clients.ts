import { env, exports } from 'cloudflare:workers';
import { sign } from 'hono/jwt';
import { onTestFinished } from 'vitest';
import { type ClientOptions, EdgeCloudClient } from '../../src/client/client.ts';
import { freshSpace } from './space.ts';

export const FROM_CLOUD = 'http://localhost/v1';
export const FROM_EDGE = 'http://localhost/v1/edge/oslo';

/** A space, and clients of it that ask for news when they are told to. */
export function began(endpoint = FROM_CLOUD) {
  const { space, call, cloud } = freshSpace();
  const tokenOf = (node: string, claims = {}) =>
    sign({ space, role: 'node', node, sub: node, ...claims } as never, env.CAUSEWAY_SECRET, 'HS256');
  const send: typeof fetch = (input, init) => exports.default.fetch(new Request(input as string, init as RequestInit));
  const client = async (nodeId: string, options: Partial<ClientOptions> = {}) => {
    const made = new EdgeCloudClient({
      nodeId,
      cloudEndpoint: endpoint,
      token: () => tokenOf(nodeId),
      fetch: send,
      live: false,
      ...options,
    });
    await made.initialize();
    onTestFinished(() => made.close());
    return made;
  };
  return { call, cloud, client, tokenOf };
}
