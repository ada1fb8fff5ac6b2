/** What a conditional write demands (RFC 9110, section 13.1): a version, or `*`. */
export interface Precondition {
  /** The record has this version (`*`: it is there). */
  readonly ifMatch?: string | undefined;
  /** The record has another version (`*`: it isn't there). */
  readonly ifNoneMatch?: string | undefined;
}

/** @param version of the record; undefined: there is none. */
export function isMet({ ifMatch, ifNoneMatch }: Precondition, version: string | undefined): boolean {
  const matches = (wanted: string) => (wanted === '*' ? version !== undefined : version === wanted);
  return (ifMatch === undefined || matches(ifMatch)) && (ifNoneMatch === undefined || !matches(ifNoneMatch));
}
