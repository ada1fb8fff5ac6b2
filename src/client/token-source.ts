import { SyncError } from '../protocol/errors.ts';

/** A token, or where to get one. */
export type TokenGiven = string | (() => string | Promise<string>);

/** The bearer token of a client: asked for at the start, and again when it was refused. */
export class TokenSource {
  readonly #given: TokenGiven;
  #current: Promise<string> | undefined;

  constructor(given: TokenGiven) {
    this.#given = given;
  }

  /** @throws SyncError `unauthenticated`: there is none to be had now. */
  async get(): Promise<string> {
    this.#current ??= this.#ask();
    try {
      return await this.#current;
    } catch (error) {
      this.#current = undefined;
      throw error;
    }
  }

  /** The token is refused; the next call asks for another one. */
  refused(): void {
    this.#current = undefined;
  }

  async #ask(): Promise<string> {
    if (typeof this.#given === 'string') return this.#given;
    try {
      return await this.#given();
    } catch (error) {
      throw new SyncError(
        'unauthenticated',
        `there is no token: ${error instanceof Error ? error.message : 'unknown'}`,
      );
    }
  }
}

/** Whose a token is, as it says itself; only who verifies it can rely on that. Undefined: it can't be read. */
export function ownerOf(token: string): string | undefined {
  try {
    const payload = (token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(payload), (char) => char.charCodeAt(0));
    const { space, sub = null } = JSON.parse(new TextDecoder().decode(bytes));
    return JSON.stringify([space, sub]);
  } catch {
    return undefined;
  }
}
