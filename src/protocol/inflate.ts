import { Inflate } from 'pako';
import { decodeUtf8, tooLarge } from './codec.ts';
import { SyncError } from './errors.ts';

/**
 * The text of a message that came in. By a library of its own: the platform's streams inflate all of what they are given
 * before anybody could stop them.
 *
 * @throws SyncError `unsupported_encoding`; `too_large` as soon as it would inflate beyond `maxBytes`, and before it
 *   has; `bad_json` for what is neither zlib nor UTF-8.
 */
export function decodeText(bytes: Uint8Array, encoding: string, maxBytes: number): string {
  const isPlain = encoding === 'identity' || encoding === '';
  return decodeUtf8(isPlain ? bytes : inflate(bytes, encoding, maxBytes), maxBytes);
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
