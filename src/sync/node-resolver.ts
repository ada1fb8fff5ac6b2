import type { Change } from '../core/change.ts';
import { MAX_NODE_RESOLUTIONS, resolverSide } from '../core/conflict.ts';
import type { EntityVersion } from '../core/entity.ts';
import { type EntityType, entityKey } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { type Policies, policyFor } from '../core/policy.ts';
import { checkResolverOutput, type Resolver, type ResolverInput, type ResolverOutput } from '../core/resolver.ts';
import { LIMITS } from '../protocol/limits.ts';
import { recordProblem } from '../protocol/record.ts';
import type { Clock } from './ports.ts';
import type { Replica } from './replica.ts';
import { answerOf } from './resolver-answer.ts';

export interface NodeResolverOptions {
  readonly replica: Replica;
  readonly policies: Policies;
  readonly clock: Clock;
  /** The function for a type whose policy says `custom: 'node'`. */
  readonly resolverFor: (entityType: EntityType) => Resolver | undefined;
}

/**
 * Resolves at the node that pushed what the cloud leaves to it: its change becomes the record that the resolver makes of
 * the two, on a base that has seen both, and goes out again. A resolver that fails, answers nonsense or takes longer than
 * `LIMITS.resolverMs` gives the conflict to people, with the reason. `design.md`, section 5.
 */
export class NodeResolver {
  readonly #options: NodeResolverOptions;

  constructor(options: NodeResolverOptions) {
    this.#options = options;
  }

  /** @param change as it is queued, with its whole record. Never throws. */
  async resolve(change: Change): Promise<void> {
    const { replica } = this.#options;
    const confirmed = replica.confirmed(entityKey(change));
    // Deleted meanwhile, or deletes: what a delete and an update become is a rule of the cloud's.
    if (confirmed === undefined || confirmed.data === null || change.data === undefined) return;
    const { output, failure } = await this.#ask(change, { ...confirmed, data: confirmed.data });
    if (output === undefined) {
      replica.resolveConflict(change.id, {
        attempts: MAX_NODE_RESOLUTIONS,
        failure: failure.slice(0, LIMITS.reasonChars).toWellFormed(),
      });
      return;
    }
    const { reason = 'the resolver decided', ...metadata } = output.metadata ?? {};
    const answer = {
      data: output.resolvedData,
      reason: reason.slice(0, LIMITS.reasonChars).toWellFormed(),
      metadata,
    };
    replica.resolveConflict(change.id, { attempts: (change.resolves?.attempts ?? 0) + 1, answer });
  }

  /** What the resolver says, or why that doesn't help. */
  async #ask(change: Change & { data?: JsonObject }, local: EntityVersion & { data: JsonObject }): Promise<Asked> {
    const { clock, policies, resolverFor } = this.#options;
    const resolver = resolverFor(change.entityType);
    if (resolver === undefined) return { failure: 'there is no resolver' };
    const input = inputOf(change, local);
    const said = await answerOf(clock, new Promise((settle) => settle(resolver(input))));
    if (said.failure !== undefined) return said;
    const output = checkResolverOutput(said.output);
    if (output === undefined) return { failure: "the resolver's answer is no resolution" };
    const { resolvedData } = output;
    const problem =
      resolvedData === null ? undefined : recordProblem(resolvedData, policyFor(policies, change.entityType));
    return problem === undefined
      ? { output }
      : { failure: `what the resolver made may not be stored: ${problem.detail}` };
  }
}

type Asked =
  | { readonly output: ResolverOutput; readonly failure?: undefined }
  | { readonly failure: string; readonly output?: undefined };

function inputOf(change: Change, local: EntityVersion & { data: JsonObject }): ResolverInput {
  const { entityType, entityId, data = {}, id, stamp } = change;
  return {
    entityType,
    entityId,
    kind: 'update-update',
    local: resolverSide(local.data, local.version, local.stamp),
    remote: resolverSide(data, id, stamp),
    base: null,
  };
}
