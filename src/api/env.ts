import type { CloudSpace } from '../cloud/cloud-space.ts';
import type { EdgeNode } from '../edge/edge-node.ts';
import type { Grant } from './grant.ts';

/** The methods of a Durable Object as its stub has them: each call is a round trip. */
type Stub<T> = {
  [Method in keyof T]: T[Method] extends (...args: infer Args) => infer Answer
    ? (...args: Args) => Promise<Awaited<Answer>>
    : never;
};

/** What the API needs of the deployment. */
export interface ApiBindings {
  readonly EDGE: { getByName(name: string): Stub<EdgeNode> };
  readonly CLOUD: { getByName(name: string): Stub<CloudSpace> };
  readonly DB: D1Database;
  /** Verifies bearer tokens, and signs causal tokens. Without it nobody is let in. */
  readonly CAUSEWAY_SECRET?: string;
  /** Set: this deployment has edge nodes only, and their cloud is there. */
  readonly CLOUD_URL?: string;
  /** Where the keys are that sign bearer tokens, beside the secret. */
  readonly CAUSEWAY_JWKS_URL?: string;
}

/** Hono's type of an app that authenticates. */
export interface ApiEnv {
  Bindings: ApiBindings;
  Variables: { grant: Grant };
}
