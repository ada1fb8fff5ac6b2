import { randomBytes } from 'node:crypto';

/** Where one run of the demo plays: the names it writes under, and what of the space is compared at its end. */
export interface Stage {
  readonly scope: Scope;
  readonly cast: Cast;
  readonly types: WeatherTypes;
}

/** All that the space holds, where nobody else writes; or only the entity types of this run. */
export type Scope = 'space' | 'run';

/** The ids of the three edge nodes. */
export interface Cast {
  readonly seattle: string;
  readonly newYork: string;
  readonly reader: string;
}

/** The entity types of the records. */
export interface WeatherTypes {
  readonly days: string;
  readonly hours: string;
}

/** Of 2^32 suffixes two runs in one space hardly ever get the same. */
const SUFFIX_BYTES = 4;

/** On a server that others use too, each run has names that nobody else has. */
export function makeStage(server: 'own' | 'shared'): Stage {
  switch (server) {
    case 'own':
      return { scope: 'space', ...namesWith('') };
    case 'shared':
      return { scope: 'run', ...namesWith(`-${randomBytes(SUFFIX_BYTES).toString('hex')}`) };
  }
}

function namesWith(suffix: string): Pick<Stage, 'cast' | 'types'> {
  return {
    cast: { seattle: `station-seattle${suffix}`, newYork: `station-newyork${suffix}`, reader: `reader${suffix}` },
    types: { days: `daily-weather${suffix}`, hours: `hourly-normal${suffix}` },
  };
}
