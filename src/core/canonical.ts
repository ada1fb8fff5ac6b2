import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import canonicalize from 'canonicalize';

/** The canonical text of a JSON value (RFC 8785): equal values have equal texts, whatever the order of their keys. */
export function canonicalText(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) throw new Error('invariant broken: only JSON values have a canonical text');
  return text;
}

/** SHA-256 of a text's UTF-8 bytes, as 64 hex digits. */
export function hashHex(text: string): string {
  return bytesToHex(sha256(utf8ToBytes(text)));
}

/** The checksum that messages carry: the first 128 bits of {@link hashHex} over {@link canonicalText}, in hex. */
export function checksum(value: unknown): string {
  return hashHex(canonicalText(value)).slice(0, 32);
}
