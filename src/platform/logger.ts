import type { Logger } from '../sync/ports.ts';

/** One JSON text a line, to the console. */
export const logger: Logger = {
  error: (event, fields) => console.error(JSON.stringify({ event, ...fields })),
};
