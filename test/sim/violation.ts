/** The rules of `docs/SPEC.md` that the simulation checks; `assert`: one that the engine checks itself. */
export type Rule =
  | 'I1'
  | 'I2'
  | 'I3'
  | 'I4'
  | 'I5'
  | 'I6'
  | 'I7'
  | 'I8'
  | 'I9'
  | 'I11'
  | 'I12'
  | 'S35'
  | 'S45'
  | 'assert';

/** A rule that didn't hold. */
export class Violation extends Error {
  readonly rule: Rule;

  constructor(rule: Rule, detail: string) {
    super(detail);
    this.rule = rule;
  }
}

export function require(condition: boolean, rule: Rule, detail: () => string): void {
  if (!condition) throw new Violation(rule, detail());
}
