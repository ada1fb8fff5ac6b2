import { sign } from 'hono/jwt';
import type { NodeId, SpaceId } from '../core/ids.ts';
import { clock } from '../platform/clock.ts';
import { entropy } from '../platform/entropy.ts';
import { SyncError } from '../protocol/errors.ts';
import type { Upstream } from '../sync/ports.ts';
import { httpUpstream } from '../transport/http.ts';
import { LiveSocket, type LiveSocketOptions } from '../transport/live-socket.ts';
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
  const url = cloudUrl(env);
  if (url === undefined) return rpcUpstream(() => env.CLOUD.getByName(space), nodeId, clock);
  return httpUpstream({ url, token: () => cloudToken(env, space, nodeId), clock });
}

/** How a cloud elsewhere tells a node of news; undefined: there is none, and the one here does so by RPC. */
export function pokesFor(
  env: UpstreamEnv,
  space: SpaceId,
  nodeId: NodeId,
  on: Pick<LiveSocketOptions, 'onOpen' | 'onPoke'>,
): LiveSocket | undefined {
  const url = cloudUrl(env);
  if (url === undefined) return undefined;
  const token = () => cloudToken(env, space, nodeId);
  return new LiveSocket({ url: `${url}/sync/live`, token, clock, entropy, ...on });
}

function cloudUrl({ CLOUD_URL: url }: UpstreamEnv): string | undefined {
  return url?.replace(/\/+$/, '') || undefined;
}

async function cloudToken(env: UpstreamEnv, space: SpaceId, nodeId: NodeId): Promise<string> {
  const { CLOUD_TOKEN: given, CAUSEWAY_SECRET: secret } = env;
  if (given) return given;
  if (!secret) throw new SyncError('not_configured', 'there is neither CLOUD_TOKEN nor CAUSEWAY_SECRET');
  const exp = Math.floor(clock.nowMs() / 1000) + TOKEN_SECONDS;
  return await sign({ space, role: 'node', node: nodeId, sub: nodeId, exp }, secret, 'HS256');
}

/** Longer than any exchange, short enough to be worth nothing when it is found. */
const TOKEN_SECONDS = 300;
