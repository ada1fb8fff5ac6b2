import { deflate, gzip, Inflate } from 'pako';
import { SyncError } from './errors.ts';

/** A message as it goes over the wire. */
export interface Encoded {
  readonly bytes: Uint8Array;
  readonly encoding: 'identity' | Compression;
  /** Before compression. */
  readonly plainBytes: number;
}

/** zlib (RFC 1950), as requests are sent; gzip (RFC 1952), which whoever calls `fetch` has inflated without asking. */
export type Compression = 'deflate' | 'gzip';

/** @param compression how to compress a text, where it has more than 1 KiB and that saves a tenth or more; undefined: not at all. */
export function encodeText(text: string, compression: Compression | undefined): Encoded {
  const plain = new TextEncoder().encode(text);
  const plainBytes = plain.byteLength;
  if (compression === undefined || plainBytes <= COMPRESS_FROM_BYTES)
    return { bytes: plain, encoding: 'identity', plainBytes };
  const compressed = compression === 'gzip' ? gzip(plain) : deflate(plain);
  return compressed.byteLength <= plainBytes * 0.9
    ? { bytes: compressed, encoding: compression, plainBytes }
    : { bytes: plain, encoding: 'identity', plainBytes };
}

const COMPRESS_FROM_BYTES = 1024;

/**
 * The text of a message.
 *
 * @throws SyncError `unsupported_encoding`; `too_large` as soon as it would inflate beyond `maxBytes`, and before it
 *   has; `bad_json` for what is neither zlib nor UTF-8.
 */
export function decodeText(bytes: Uint8Array, encoding: string, maxBytes: number): string {
  const plain = encoding === 'identity' || encoding === '' ? bytes : inflate(bytes, encoding, maxBytes);
  if (plain.byteLength > maxBytes) throw tooLarge(maxBytes);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(plain);
  } catch {
    throw new SyncError('bad_json', 'the body is not UTF-8');
  }
}

function inflate(bytes: Uint8Array, encoding: string, maxBytes: number): Uint8Array {
  if (encoding !== 'deflate') throw new SyncError('unsupported_encoding', `${encoding} is not understood here`);
  const inflator = new Inflate({ chunkSize: CHUNK_BYTES });
  const collect = inflator.onData.bind(inflator);
  let total = 0;
  inflator.onData = (chunk) => {
    total += chunk.length;
    if (total > maxBytes) throw tooLarge(maxBytes);
    collect(chunk);
  };
  inflator.push(bytes, true);
  if (inflator.err !== 0 || !(inflator.result instanceof Uint8Array)) {
    throw new SyncError('bad_json', 'the body is not zlib');
  }
  return inflator.result;
}

const CHUNK_BYTES = 64 * 1024;

function tooLarge(maxBytes: number): SyncError {
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
