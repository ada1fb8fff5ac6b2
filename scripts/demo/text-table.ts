import Table from 'cli-table3';

export interface Column {
  readonly title: string;
  readonly align?: 'right';
}

/** A table of text without colours: the same on a terminal and in a file. */
export function textTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const table = new Table({
    head: columns.map(({ title }) => title),
    colAligns: columns.map(({ align }) => align ?? 'left'),
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) table.push([...row]);
  return table.toString();
}
