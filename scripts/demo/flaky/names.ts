export interface Names {
  readonly cast: Cast;
  readonly types: Types;
}

/** The ids of the three edge nodes. */
export interface Cast {
  readonly station: string;
  /** Takes the same writes, each of them sent at once. Its id is as long as the station's: bytes are compared. */
  readonly twin: string;
  readonly reader: string;
}

/** The entity types of the records. */
export interface Types {
  /** One record an hour. */
  readonly hours: string;
  /** One record a station, written every hour. */
  readonly current: string;
}

export function namesWith(suffix: string): Names {
  return {
    cast: { station: `station${suffix}`, twin: `at-once${suffix}`, reader: `reader${suffix}` },
    types: { hours: `hourly-normal${suffix}`, current: `current-weather${suffix}` },
  };
}
