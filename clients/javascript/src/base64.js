// Base64 in the two spellings the ledger uses (LEDGER.md §2), each strict: one spelling a value, no stray bits.

const STANDARD = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const URL_SAFE = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const FROM_STANDARD = reversed(STANDARD);
const FROM_URL_SAFE = reversed(URL_SAFE);

/** Characters of 32 bytes as base64url without padding: `h` of LEDGER.md §2. */
const DIGEST_TEXT = 43;

function reversed(alphabet) {
  const table = new Int8Array(128).fill(-1);
  for (let i = 0; i < alphabet.length; i++) table[alphabet.charCodeAt(i)] = i;
  return table;
}

function sextet(table, code) {
  return code < 128 ? table[code] : -1;
}

/** Decodes characters without padding; `null` for a foreign one, a length of 1 mod 4, or bits left over. */
function decode(table, text, length) {
  if (length % 4 === 1) return null;
  const out = new Uint8Array(Math.floor((length * 3) / 4));
  let bits = 0;
  let value = 0;
  let at = 0;
  for (let i = 0; i < length; i++) {
    const six = sextet(table, text.charCodeAt(i));
    if (six < 0) return null;
    value = ((value << 6) | six) & 0xfff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out[at++] = value >>> bits;
    }
  }
  return (value & ((1 << bits) - 1)) === 0 ? out : null;
}

function encode(alphabet, bytes) {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff;
    bits += 8;
    while (bits >= 6) {
      bits -= 6;
      text += alphabet[(value >>> bits) & 63];
    }
  }
  return bits > 0 ? text + alphabet[(value << (6 - bits)) & 63] : text;
}

/**
 * Standard base64 with padding, as C2SP texts have it.
 * @param {string} text
 * @returns {Uint8Array | null}
 */
export function fromBase64(text) {
  if (text.length % 4 !== 0) return null;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  return decode(FROM_STANDARD, text, text.length - padding);
}

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  const text = encode(STANDARD, bytes);
  return text + '='.repeat((4 - (text.length % 4)) % 4);
}

/**
 * Base64url without padding.
 * @param {string} text
 * @returns {Uint8Array | null}
 */
export function fromBase64Url(text) {
  return decode(FROM_URL_SAFE, text, text.length);
}

/** @param {Uint8Array} bytes */
export function toBase64Url(bytes) {
  return encode(URL_SAFE, bytes);
}

/**
 * A digest: exactly 43 characters of exactly 32 bytes.
 * @param {unknown} text
 * @returns {Uint8Array | null}
 */
export function digest(text) {
  return typeof text === 'string' && text.length === DIGEST_TEXT ? fromBase64Url(text) : null;
}

/**
 * Whether `text` is a digest, without making its bytes: the last character has two bits to spare.
 * @param {unknown} text
 */
export function isDigest(text) {
  if (typeof text !== 'string' || text.length !== DIGEST_TEXT) return false;
  let last = 0;
  for (let i = 0; i < DIGEST_TEXT; i++) {
    last = sextet(FROM_URL_SAFE, text.charCodeAt(i));
    if (last < 0) return false;
  }
  return (last & 3) === 0;
}

/**
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
export function equal(a, b) {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
