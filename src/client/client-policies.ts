import type { ConsistencyLevel } from '../core/consistency.ts';
import { definePolicies } from '../core/define-policies.ts';
import { isJsonObject, type JsonValue } from '../core/json.ts';
import type { ConflictRule, Policies, Policy } from '../core/policy.ts';

export interface ConsistencyRule {
  readonly level: ConsistencyLevel;
  /** For `eventual`, ms. */
  readonly maxStaleness?: number | undefined;
}

/**
 * What a client's options come to. A conflict is decided in the cloud, by the cloud's policies; what is said here decides
 * how reads and writes are served, and what the client expects of the cloud until that has spoken.
 *
 * @throws PolicyError for what is none.
 */
export function clientPolicies(
  rules: Readonly<Record<string, ConsistencyRule | undefined>>,
  strategies: Readonly<Record<string, ConflictRule | undefined>>,
): Policies {
  const types = [...new Set([...Object.keys(rules), ...Object.keys(strategies)])].map((type) => {
    const rule = rules[type];
    const conflict = strategies[type];
    const given = {
      ...(rule === undefined ? {} : { consistency: rule.level }),
      ...(rule?.maxStaleness === undefined ? {} : { maxStalenessMs: rule.maxStaleness }),
      ...(conflict === undefined ? {} : { conflict }),
      ...(conflict === 'custom' ? { custom: 'node' as const } : {}),
    };
    return [type, given] as const;
  });
  return definePolicies({ types: Object.fromEntries(types) });
}

/** Where the client expects another rule for conflicts than the cloud goes by, in words. */
export function differences(own: Policies, told: JsonValue): string[] {
  if (!isJsonObject(told)) return [];
  const types = isJsonObject(told['types']) ? told['types'] : {};
  return Object.entries(own.types).flatMap(([type, policy]) => {
    const theirs = Object.hasOwn(types, type) ? types[type] : told['default'];
    if (!isJsonObject(theirs) || theirs['conflict'] === policy.conflict) return [];
    return [`${type}: the cloud decides conflicts by '${String(theirs['conflict'])}', not by '${policy.conflict}'`];
  });
}

/** The own policies with what the cloud said of conflicts, by which the client expects what the cloud will do. */
export function asTold(own: Policies, told: JsonValue): Policies {
  if (!isJsonObject(told)) return own;
  const types = isJsonObject(told['types']) ? told['types'] : {};
  const names = new Set([...Object.keys(own.types), ...Object.keys(types)]);
  const merged = [...names].map((type): [string, Policy] => {
    const policy = (Object.hasOwn(own.types, type) ? own.types[type] : undefined) ?? { ...own.default, entry: type };
    return [type, withRules(policy, Object.hasOwn(types, type) ? types[type] : told['default'])];
  });
  return { types: Object.fromEntries(merged), default: withRules(own.default, told['default']) };
}

function withRules(own: Policy, told: JsonValue | undefined): Policy {
  if (!isJsonObject(told)) return own;
  const { conflict, onDelete, onCreate, custom } = told;
  try {
    const given = { conflict, onDelete, onCreate, ...(conflict === 'custom' ? { custom: custom ?? 'node' } : {}) };
    const { default: read } = definePolicies({ types: {}, default: given as never });
    return { ...own, conflict: read.conflict, onDelete: read.onDelete, onCreate: read.onCreate, custom: read.custom };
  } catch {
    // Of a later version, which knows rules that this one doesn't.
    return own;
  }
}
