// CBOR as far as it has to be walked over: the extensions behind authenticator data (RFC 8949 §3, CTAP2 §8).

import { JsonError, utf8 } from './json.js';

/** Deepest nesting that CTAP2 allows. */
const MAX_DEPTH = 4;

/**
 * Whether `bytes` are one map of definite length, without tags, and nothing behind it.
 * @param {Uint8Array} bytes
 */
export function isCborMap(bytes) {
  return bytes.length > 0 && bytes[0] >> 5 === 5 && item(bytes, 0, MAX_DEPTH) === bytes.length;
}

/** Where the item at `at` ends; `undefined` if it has not its form. */
function item(bytes, at, depth) {
  const head = argument(bytes, at);
  if (head === undefined) return undefined;
  const { n, next } = head;
  switch (bytes[at] >> 5) {
    case 0:
    case 1:
    case 7:
      return next;
    case 2:
      return next + n <= bytes.length ? next + n : undefined;
    case 3:
      return next + n <= bytes.length && isText(bytes.subarray(next, next + n)) ? next + n : undefined;
    case 4:
      return items(bytes, next, n, depth - 1);
    case 5:
      return items(bytes, next, 2 * n, depth - 1);
    default:
      return undefined;
  }
}

/** Each item has a byte at least, so that the bytes bound the loop, not `n`. */
function items(bytes, from, n, depth) {
  let at = depth < 0 ? undefined : from;
  for (let i = 0; i < n && at !== undefined; i++) at = item(bytes, at, depth);
  return at;
}

/** The number in a head: in its 5 bits, or in the 1, 2, 4 or 8 bytes behind. Beyond 2^53 it is only near, and too long. */
function argument(bytes, at) {
  if (at >= bytes.length) return undefined;
  const info = bytes[at] & 31;
  if (info < 24) return { n: info, next: at + 1 };
  if (info > 27) return undefined;
  const next = at + 1 + 2 ** (info - 24);
  if (next > bytes.length) return undefined;
  return { n: bytes.subarray(at + 1, next).reduce((n, byte) => n * 256 + byte, 0), next };
}

function isText(bytes) {
  try {
    utf8(bytes);
    return true;
  } catch (error) {
    if (error instanceof JsonError) return false;
    throw error;
  }
}
