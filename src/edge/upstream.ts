import { decode, sign } from 'hono/jwt';
import type { NodeId, SpaceId } from '../core/ids.ts';
import { clock } from '../platform/clock.ts';
import { entropy } from '../platform/entropy.ts';
import { fromResult, SyncError } from '../protocol/errors.ts';
import type { Caller } from '../sync/caller.ts';
import type { Upstream } from '../sync/ports.ts';
import type { Carrier } from '../sync/relay.ts';
import type { SessionGrant } from '../sync/sessions.ts';
import { httpCarrier, httpUpstream } from '../transport/http.ts';
import { LiveSocket, type LiveSocketOptions } from '../transport/live-socket.ts';
import { rpcCarrier, rpcUpstream, type SpaceRpc } from '../transport/rpc.ts';
import type { Others } from './quorum.ts';

export interface UpstreamEnv {
  readonly CLOUD: { getByName(name: string): SpaceRpc };
  readonly CAUSEWAY_SECRET?: string;
  /** Set: the cloud is elsewhere, `https://host/v1`. */
  readonly CLOUD_URL?: string;
  /** A token for the cloud elsewhere; without it, one is signed by the secret that both share. */
  readonly CLOUD_TOKEN?: string;
}

/** The way of an edge node to its cloud: the same protocol, by RPC in one deployment, by HTTP to another. */
export function upstreamFor(env: UpstreamEnv, space: SpaceId, nodeId: NodeId): Upstream {
  const url = urlOf(env);
  if (url === undefined) return rpcUpstream(() => env.CLOUD.getByName(space), nodeId, clock);
  return httpUpstream({ url, token: () => tokenFor(env, space, nodeId), clock });
}

/** What else the cloud of the same deployment can be asked; undefined: it is elsewhere. */
export function spaceOfNode(env: UpstreamEnv, space: SpaceId, self: NodeId): (Others & Movers) | undefined {
  if (urlOf(env) !== undefined) return undefined;
  const cloud = () => env.CLOUD.getByName(space);
  return {
    move: async (name) => fromResult(await answered(cloud().moveSession(name, self))),
    holders: (at, wanted, waitMs) => answered(cloud().holders(at, wanted, waitMs, self)),
    versions: (key, wanted, waitMs) => answered(cloud().versions(key, wanted, waitMs, self)),
  };
}

/** Moves sessions to this node. */
interface Movers {
  move(name: string): Promise<SessionGrant>;
}

/** An object that was reset, or is swamped, is one that can't be reached. */
async function answered<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw new SyncError('cloud_unavailable', `the cloud did not answer: ${String(error)}`);
  }
}

/** The same way, for what the node carries for those below. */
export function carrierFor(env: UpstreamEnv, space: SpaceId): Carrier {
  const url = urlOf(env);
  if (url === undefined) return rpcCarrier(() => env.CLOUD.getByName(space), clock);
  // A token that is somebody's own would let all who are carried do what it may.
  const refuse = async (): Promise<never> => {
    throw new SyncError(
      'forbidden',
      'with CLOUD_TOKEN nothing is carried for others: they need the secret of the cloud',
    );
  };
  return httpCarrier({ url, tokenFor: env.CLOUD_TOKEN ? refuse : (caller) => signedFor(env, space, caller), clock });
}

/** How a cloud elsewhere tells a node of news; undefined: there is none, and the one here does so by RPC. */
export function pokesFor(
  env: UpstreamEnv,
  space: SpaceId,
  nodeId: NodeId,
  on: Pick<LiveSocketOptions, 'onOpen' | 'onPoke'>,
): LiveSocket | undefined {
  const url = urlOf(env);
  if (url === undefined) return undefined;
  const token = () => tokenFor(env, space, nodeId);
  return new LiveSocket({ url: `${url}/sync/live?node=${nodeId}`, token, clock, entropy, ...on });
}

function urlOf({ CLOUD_URL: url }: UpstreamEnv): string | undefined {
  return url ? url.replace(/\/+$/, '') : undefined;
}

async function tokenFor(env: UpstreamEnv, space: SpaceId, nodeId: NodeId): Promise<string> {
  const { CLOUD_TOKEN: given } = env;
  if (!given) return await signedFor(env, space, { nodeId, relay: false });
  if (spaceOf(given) !== space) throw new SyncError('forbidden', `CLOUD_TOKEN is of another space than ${space}`);
  return given;
}

/** A token that allows the caller at the cloud elsewhere what it may do here. */
async function signedFor({ CAUSEWAY_SECRET: secret }: UpstreamEnv, space: SpaceId, caller: Caller): Promise<string> {
  const { nodeId: node, relay, readTypes: read, writeTypes: write } = caller;
  if (!secret) throw new SyncError('not_configured', 'there is neither CLOUD_TOKEN nor CAUSEWAY_SECRET');
  const types = read === undefined && write === undefined ? {} : { types: { read, write } };
  const exp = Math.floor(Date.now() / 1000) + TOKEN_SECONDS;
  const identity = node === undefined ? { role: 'admin', sub: 'relay' } : { role: 'node', node, sub: node, relay };
  return await sign({ space, ...identity, ...types, exp }, secret, 'HS256');
}

/** Unchecked, as only the cloud can check it. */
function spaceOf(token: string): unknown {
  try {
    return decode(token).payload['space'];
  } catch {
    return undefined;
  }
}

/** Longer than any exchange, short enough to be worth nothing when it is found. */
const TOKEN_SECONDS = 300;
