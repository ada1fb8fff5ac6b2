/** Of what an error says, characters. */
export const MAX_REASON_CHARS = 1_024;

/** What an error says that comes from code which nothing is known about. Never throws, whatever was thrown. */
export function messageOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error)
      .slice(0, MAX_REASON_CHARS)
      .toWellFormed();
  } catch {
    return 'it does not say why';
  }
}
