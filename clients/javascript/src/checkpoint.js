// C2SP tlog-checkpoint (LEDGER.md §9, §13): origin, size and root, three lines of a signed note and no more.

import { fromBase64 } from './base64.js';
import { NoteError, parseNote } from './note.js';

/**
 * @typedef {object} Checkpoint
 * @property {string} origin
 * @property {number | bigint} size a bigint beyond 2^53 - 1, which no log of ours reaches
 * @property {Uint8Array} root 32 bytes
 */

/**
 * A decimal of up to 64 bits without sign or leading zeros, or `null`.
 * @param {string} text
 * @returns {number | bigint | null}
 */
export function decimal(text) {
  if (!/^(?:0|[1-9][0-9]{0,19})$/.test(text)) return null;
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  const exact = BigInt(text);
  return exact < 2n ** 64n ? exact : null;
}

/**
 * @param {string} text the text of a note
 * @returns {Checkpoint}
 * @throws {NoteError}
 */
export function parseCheckpoint(text) {
  const lines = text.split('\n');
  const [origin, size, root] = lines;
  const bytes = lines.length === 4 && lines[3] === '' ? fromBase64(root) : null;
  const leaves = bytes && decimal(size);
  if (!bytes || bytes.length !== 32 || leaves === null || origin === '') {
    throw new NoteError('a checkpoint has three lines: origin, size and root');
  }
  return { origin, size: leaves, root: bytes };
}

/**
 * Parses a whole signed note; checks no signature.
 * @param {string} text
 * @returns {{checkpoint: Checkpoint, note: import('./note.js').Note}}
 * @throws {NoteError}
 */
export function parseSignedCheckpoint(text) {
  const note = parseNote(text);
  return { checkpoint: parseCheckpoint(note.text), note };
}

/**
 * A checkpoint an auditor kept: the signed note, or its three lines.
 * @param {string} text
 * @returns {Checkpoint}
 * @throws {NoteError}
 */
export function parseKept(text) {
  try {
    return parseSignedCheckpoint(text).checkpoint;
  } catch {
    return parseCheckpoint(text);
  }
}
