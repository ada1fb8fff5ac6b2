import { createReadStream } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse } from 'csv-parse/sync';

/** What a sensor has measured. */
export interface Reading {
  /** The same for the same line of the file, however often it is read. */
  id: string;
  data: { sensor: string; time: string; temperature: number; humidity: number };
}

/** How often the file is looked at for more lines. */
const LOOK_MS = 500;

export interface Following {
  /** Goes on with what is added to the file, until the signal ends it. */
  follow: boolean;
  signal: AbortSignal;
}

/** The lines of a CSV file (`time,sensor,temperature,humidity`), from 1; undefined for one that is no reading. */
export async function* readReadings(
  file: string,
  following: Following,
): AsyncGenerator<{ line: number; reading: Reading | undefined }> {
  let columns: string[] | undefined;
  let line = 0;
  for await (const text of linesOf(file, following)) {
    line += 1;
    if (columns === undefined) columns = fieldsOf(text);
    else if (text !== '') yield { line, reading: readingOf(columns, fieldsOf(text)) };
  }
}

async function* linesOf(file: string, { follow, signal }: Following): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let offset = 0;
  /** A line that has no end yet. */
  let rest = '';
  do {
    for await (const chunk of createReadStream(file, { start: offset, signal })) {
      offset += chunk.length;
      const lines = `${rest}${decoder.decode(chunk, { stream: true })}`.split(/\r?\n/);
      rest = lines.pop() ?? '';
      yield* lines;
    }
    if (follow) await sleep(LOOK_MS, undefined, { signal });
  } while (follow);
  if (rest !== '') yield rest;
}

/** None for what is no CSV. */
function fieldsOf(line: string): string[] {
  try {
    return parse(line)[0] ?? [];
  } catch {
    return [];
  }
}

function readingOf(columns: string[], fields: string[]): Reading | undefined {
  const field = (name: string) => fields[columns.indexOf(name)] ?? '';
  const [time, sensor] = [field('time'), field('sensor')];
  const [temperature, humidity] = [numberOf(field('temperature')), numberOf(field('humidity'))];
  const id = `${sensor}@${time}`;
  // What an id may hold.
  if (!/^[A-Za-z0-9][A-Za-z0-9._~:@-]{0,127}$/.test(id) || Number.isNaN(Date.parse(time))) return undefined;
  if (temperature === undefined || humidity === undefined) return undefined;
  return { id, data: { sensor, time, temperature, humidity } };
}

function numberOf(text: string): number | undefined {
  const number = Number(text);
  return text.trim() === '' || !Number.isFinite(number) ? undefined : number;
}
