import { randomBytes } from 'node:crypto';

/** Where one run of the demo plays: the names it writes under, and what of the space is compared at its end. */
export type Stage<Names> = Names & { readonly scope: Scope };

/** All that the space holds, where nobody else writes; or only the entity types of this run. */
export type Scope = 'space' | 'run';

export type ServerKind = 'own' | 'shared';

/** Of 2^32 suffixes two runs in one space hardly ever get the same. */
const SUFFIX_BYTES = 4;

/** On a server that others use too, each run has names that nobody else has. */
export function makeStage<Names>(server: ServerKind, namesWith: (suffix: string) => Names): Stage<Names> {
  switch (server) {
    case 'own':
      return { scope: 'space', ...namesWith('') };
    case 'shared':
      return { scope: 'run', ...namesWith(`-${randomBytes(SUFFIX_BYTES).toString('hex')}`) };
  }
}
