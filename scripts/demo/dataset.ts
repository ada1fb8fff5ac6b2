import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { parse } from 'csv-parse/sync';
import type { Priority } from '../../src/core/change.ts';
import type { JsonObject } from '../../src/core/json.ts';

/** One record of the demo, before anybody has changed it. */
export interface Reading {
  readonly entityType: string;
  readonly entityId: string;
  readonly data: JsonObject;
  readonly priority?: Priority | undefined;
}

/** The entity types of the records. */
export interface WeatherTypes {
  readonly days: string;
  readonly hours: string;
}

export interface Dataset {
  /** One record a day, 2012 to 2015. */
  readonly seattleDays: readonly Reading[];
  readonly newYorkDays: readonly Reading[];
  /** One record an hour of a typical year in Seattle. */
  readonly seattleHours: readonly Reading[];
}

/** Reads the two CSV files of the package `vega-datasets`; at most `maxRows` rows of each, in their order. */
export function readDataset(maxRows: number, types: WeatherTypes): Dataset {
  const days = readCsv('weather.csv');
  const daysPerCity = Math.floor(maxRows / 2);
  return {
    seattleDays: daysOf(days, 'Seattle', types.days).slice(0, daysPerCity),
    newYorkDays: daysOf(days, 'New York', types.days).slice(0, daysPerCity),
    seattleHours: readHours(maxRows, types.hours),
  };
}

/** At most `maxRows` hours of a typical year in Seattle. */
export function readHours(maxRows: number, entityType: string): Reading[] {
  return readCsv('seattle-weather-hourly-normals.csv')
    .slice(0, maxRows)
    .map((row) => toHour(row, entityType));
}

type Row = Readonly<Record<string, string>>;

function readCsv(name: string): Row[] {
  const require = createRequire(import.meta.url);
  const entry = require.resolve('vega-datasets');
  return parse<Row>(readFileSync(path.join(path.dirname(entry), '../data', name)), { columns: true });
}

function daysOf(rows: readonly Row[], location: string, entityType: string): Reading[] {
  const city = location.toLowerCase().replaceAll(' ', '-');
  return rows
    .filter((row) => row['location'] === location)
    .map((row) => ({
      entityType,
      entityId: `${city}-${text(row, 'date')}`,
      data: {
        location,
        date: text(row, 'date'),
        precipitation: number(row, 'precipitation'),
        temp_max: number(row, 'temp_max'),
        temp_min: number(row, 'temp_min'),
        wind: number(row, 'wind'),
        weather: text(row, 'weather'),
      },
    }));
}

function toHour(row: Row, entityType: string): Reading {
  const date = text(row, 'date');
  return {
    entityType,
    entityId: `seattle-${date.slice(0, 'yyyy-mm-ddThh'.length)}`,
    data: {
      date,
      pressure: number(row, 'pressure'),
      temperature: number(row, 'temperature'),
      wind: number(row, 'wind'),
    },
  };
}

function text(row: Row, column: string): string {
  const value = row[column];
  if (value === undefined || value === '') throw new Error(`a row without ${column}: ${JSON.stringify(row)}`);
  return value;
}

function number(row: Row, column: string): number {
  const value = Number(text(row, column));
  if (!Number.isFinite(value)) throw new Error(`a row where ${column} is no number: ${JSON.stringify(row)}`);
  return value;
}
