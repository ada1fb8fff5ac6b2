import { sign } from 'hono/jwt';
import type { NodeId, SpaceId } from '../core/ids.ts';
import { clock } from '../platform/clock.ts';
import { SyncError } from '../protocol/errors.ts';
import type { Upstream } from '../sync/ports.ts';
import { httpUpstream } from '../transport/http.ts';
import { rpcUpstream, type SyncRpc } from '../transport/rpc.ts';

export interface UpstreamEnv {
  readonly CLOUD: { getByName(name: string): SyncRpc };
  readonly CAUSEWAY_SECRET?: string;
  /** Set: the cloud is elsewhere, `https://host/v1`. */
  readonly CLOUD_URL?: string;
  /** A token for the cloud elsewhere; without it, one is signed by the secret that both share. */
  readonly CLOUD_TOKEN?: string;
}

/** The way of an edge node to its cloud: the same protocol, by RPC in one deployment, by HTTP to another. */
export function upstreamFor(env: UpstreamEnv, space: SpaceId, nodeId: NodeId): Upstream {
  const { CLOUD_URL: url, CLOUD_TOKEN: given, CAUSEWAY_SECRET: secret } = env;
  if (!url) return rpcUpstream(() => env.CLOUD.getByName(space), nodeId, clock);
  const token = async (): Promise<string> => {
    if (given) return given;
    if (!secret) throw new SyncError('not_configured', 'there is neither CLOUD_TOKEN nor CAUSEWAY_SECRET');
    const exp = Math.floor(Date.now() / 1000) + TOKEN_SECONDS;
    return await sign({ space, role: 'node', node: nodeId, sub: nodeId, exp }, secret, 'HS256');
  };
  return httpUpstream({ url: url.replace(/\/+$/, ''), token, clock });
}

/** Longer than any exchange, short enough to be worth nothing when it is found. */
const TOKEN_SECONDS = 300;
