// C2SP signed-note (LEDGER.md §13): a text, an empty line, signature lines. Also its verifier keys, type 0x01.
//
// A signature by an unknown key is ignored, a false one by a known key rejects the note: otherwise a note could be
// spoiled, or saved, by a line that somebody appended.

import { equal, fromBase64 } from './base64.js';
import { verifyEd25519 } from './ed25519.js';
import { sha256 } from './sha256.js';

/** Most signature lines that are read; the spec asks for at least 16. */
const MAX_SIGNATURES = 64;
/** The type of a plain Ed25519 key. */
const ED25519 = 0x01;

/** A text that is no note, or one that a known key did not sign; the message says which. */
export class NoteError extends Error {}

/** A text that is no verifier key. */
export class KeyError extends Error {}

/**
 * @typedef {object} Signature
 * @property {string} name of its key
 * @property {Uint8Array} keyId 4 bytes
 * @property {Uint8Array} bytes
 */

/**
 * @typedef {object} Note
 * @property {string} text what is signed, ending in LF
 * @property {Signature[]} signatures
 */

/**
 * @typedef {object} Key
 * @property {string} name for a log, its origin
 * @property {Uint8Array} keyId 4 bytes
 * @property {number} type
 * @property {Uint8Array} key
 */

const ENCODER = new TextEncoder();
/** White space as Unicode has it, which is not what `\s` is: U+0085 is, U+FEFF is not. */
const NO_NAME = /[+\p{White_Space}]/u;
const CONTROL = /[\u0000-\u0009\u000b-\u001f]/;

/**
 * Parses a whole note; checks no signature.
 * @param {string} note
 * @returns {Note}
 * @throws {NoteError}
 */
export function parseNote(note) {
  if (CONTROL.test(note)) throw new NoteError('not a signed note: a control character');
  const at = note.lastIndexOf('\n\n');
  if (at < 0) throw new NoteError('not a signed note: no empty line before signatures');
  const lines = note.slice(at + 2);
  if (!lines.endsWith('\n')) throw new NoteError('not a signed note: no line feed at the end');
  const signatures = [];
  for (const line of lines.slice(0, -1).split('\n')) {
    if (signatures.length === MAX_SIGNATURES) throw new NoteError(`more than ${MAX_SIGNATURES} signatures`);
    signatures.push(parseSignature(line));
  }
  return { text: note.slice(0, at + 1), signatures };
}

function parseSignature(line) {
  const parts = /^\u2014 ([^ ]*) (.*)$/u.exec(line);
  const blob = parts && fromBase64(parts[2]);
  if (!parts || !isName(parts[1]) || !blob || blob.length < 5) {
    throw new NoteError('not a signed note: a signature line');
  }
  return { name: parts[1], keyId: blob.slice(0, 4), bytes: blob.slice(4) };
}

/**
 * Key names hold no `+` and no white space.
 * @param {string} name
 */
function isName(name) {
  return name !== '' && !NO_NAME.test(name);
}

/**
 * `NAME+hex(key id)+base64(type ‖ key)`, of a type in `types`, each with the length of its keys.
 * @param {string} text
 * @param {Map<number, number>} [types]
 * @returns {Key}
 * @throws {KeyError}
 */
export function parseKey(text, types = new Map([[ED25519, 32]])) {
  const [name, id, ...rest] = text.split('+');
  const typed = rest.length > 0 ? fromBase64(rest.join('+')) : null;
  if (!typed || typed.length === 0) throw new KeyError('a verifier key reads NAME+8 hex digits+base64');
  const [type] = typed;
  const length = types.get(type);
  if (length === undefined) throw new KeyError(`keys of type 0x${type.toString(16).padStart(2, '0')} are not supported`);
  if (typed.length !== 1 + length) throw new KeyError('a verifier key reads NAME+8 hex digits+base64');
  if (!isName(name)) throw new KeyError(`\`${name}\` cannot name a key: it is empty or holds \`+\` or white space`);
  const keyId = sha256(ENCODER.encode(`${name}\n`), typed).slice(0, 4);
  if (hex(keyId) !== id) throw new KeyError('the key id does not fit name and key');
  return { name, keyId, type, key: typed.slice(1) };
}

/** @param {Uint8Array} bytes */
export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * @param {Key} a
 * @param {Key} b
 */
export function sameKey(a, b) {
  return a.type === b.type && a.name === b.name && equal(a.key, b.key);
}

/**
 * The one known key that `signature` says it is of; `undefined` if there is none.
 * @param {Signature} signature
 * @param {Key[]} known
 * @throws {NoteError} if two known keys answer to it
 */
export function keyOf(signature, known) {
  const keys = known.filter((key) => key.name === signature.name && equal(key.keyId, signature.keyId));
  if (keys.some((key) => !sameKey(key, keys[0]))) {
    throw new NoteError(`two known keys are called \`${signature.name}\` and have one id`);
  }
  return keys[0];
}

/**
 * Checks every signature of a key in `known`, and gives those keys.
 * @param {Note} note
 * @param {Key[]} known
 * @returns {Key[]}
 * @throws {NoteError} if any of them is false
 */
export function verifyNote(note, known) {
  const text = ENCODER.encode(note.text);
  const good = [];
  for (const signature of note.signatures) {
    const key = keyOf(signature, known);
    if (key === undefined) continue;
    if (!verifyEd25519(key.key, text, signature.bytes)) {
      throw new NoteError(`the signature of \`${signature.name}\` is false`);
    }
    if (!good.includes(key)) good.push(key);
  }
  return good;
}
