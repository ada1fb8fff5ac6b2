/**
 * How large batches may be, in bytes, where they get lost: after each loss half as large as what was lost, after each that
 * arrives twice as large again. No change is to blame for a loss, however often: a batch has always room for one.
 */
export class ByteCap {
  #maxBytes = Number.POSITIVE_INFINITY;

  get maxBytes(): number {
    return this.#maxBytes;
  }

  lost(bytes: number): void {
    this.#maxBytes = Math.max(LEAST_BYTES, Math.floor(Math.min(this.#maxBytes, bytes) / 2));
  }

  arrived(): void {
    this.#maxBytes *= 2;
  }
}

/** What gets lost in less than this was not too large: a cloud that is away loses all. */
const LEAST_BYTES = 16 * 1024;
