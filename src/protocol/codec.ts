import { SyncError } from './errors.ts';

/** A message as it goes over the wire. */
export interface Encoded {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly encoding: 'identity' | Compression;
  /** Before compression. */
  readonly plainBytes: number;
}

/** zlib (RFC 1950), as requests are sent; gzip (RFC 1952), which whoever calls `fetch` has inflated without asking. */
export type Compression = 'deflate' | 'gzip';

/** @param compression how to compress a text, where it has more than 1 KiB and that saves a tenth or more; undefined: not at all. */
export async function encodeText(text: string, compression: Compression | undefined): Promise<Encoded> {
  const plain = Uint8Array.from(new TextEncoder().encode(text));
  const plainBytes = plain.byteLength;
  if (compression === undefined || plainBytes <= COMPRESS_FROM_BYTES)
    return { bytes: plain, encoding: 'identity', plainBytes };
  const smaller = await compressed(plain, compression);
  return smaller.byteLength <= plainBytes * 0.9
    ? { bytes: smaller, encoding: compression, plainBytes }
    : { bytes: plain, encoding: 'identity', plainBytes };
}

const COMPRESS_FROM_BYTES = 1024;

/** Nothing but the platform's own is needed for it, so that a client brings none along. */
async function compressed(plain: Uint8Array<ArrayBuffer>, format: Compression): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([plain]).stream().pipeThrough(new CompressionStream(format));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The text of bytes. @throws SyncError `too_large`, and `bad_json` for what is no UTF-8 */
export function decodeUtf8(bytes: Uint8Array, maxBytes: number): string {
  if (bytes.byteLength > maxBytes) throw tooLarge(maxBytes);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SyncError('bad_json', 'the body is not UTF-8');
  }
}

export function tooLarge(maxBytes: number): SyncError {
  return new SyncError('too_large', `a body may have ${maxBytes} bytes, after inflation`);
}

/** @throws SyncError `bad_json` */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SyncError('bad_json', error instanceof Error ? error.message : 'not JSON');
  }
}
