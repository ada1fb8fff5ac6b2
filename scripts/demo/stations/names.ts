import type { WeatherTypes } from '../dataset.ts';

export interface Names {
  readonly cast: Cast;
  readonly types: WeatherTypes;
}

/** The ids of the three edge nodes. */
export interface Cast {
  readonly seattle: string;
  readonly newYork: string;
  readonly reader: string;
}

export function namesWith(suffix: string): Names {
  return {
    cast: { seattle: `station-seattle${suffix}`, newYork: `station-newyork${suffix}`, reader: `reader${suffix}` },
    types: { days: `daily-weather${suffix}`, hours: `hourly-normal${suffix}` },
  };
}
