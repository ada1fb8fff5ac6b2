/** Metrics as Prometheus reads them: the text exposition format, version 0.0.4. */

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** Behind the family's name, such as `_count`. */
  readonly suffix?: string | undefined;
}

/** All samples of one name. */
export interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly samples: readonly Sample[];
}

export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Names of families, labels and suffixes are ours, and fit; values of labels may be anything. Pure. */
export function exposition(families: Iterable<Family>): string {
  return [...families].map(familyText).join('');
}

function familyText({ name, type, help, samples }: Family): string {
  const head = `# HELP ${name} ${escaped(help, /[\\\n]/g)}\n# TYPE ${name} ${type}\n`;
  return (
    head +
    samples
      .map((sample) => `${name}${sample.suffix ?? ''}${labelsText(sample.labels)} ${valueText(sample.value)}\n`)
      .join('')
  );
}

function labelsText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value, /[\\"\n]/g)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(text: string, special: RegExp): string {
  return text.replace(special, (char) => (char === '\n' ? '\\n' : `\\${char}`));
}

function valueText(value: number): string {
  if (Number.isFinite(value) || Number.isNaN(value)) return String(value);
  return value > 0 ? '+Inf' : '-Inf';
}
