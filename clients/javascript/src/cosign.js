// C2SP tlog-cosignature, type 0x04: a witness says that at a time the largest tree it saw of a log was this one
// (LEDGER.md §10, §13). ML-DSA-44 keys (0x06) may be named in a policy; what they sign is ignored, as an unknown key's is.

import { verifyEd25519 } from './ed25519.js';
import { NoteError, keyOf } from './note.js';

const TYPE_ED25519 = 0x04;
const TYPE_ML_DSA_44 = 0x06;

/** The types of keys of witnesses, each with the length of its keys (FIPS 204, table 2). */
export const WITNESS_KEYS = new Map([[TYPE_ED25519, 32], [TYPE_ML_DSA_44, 1_312]]);

const ENCODER = new TextEncoder();

/**
 * Checks every cosignature of a witness in `known`; those that cannot be checked are not there.
 * @param {import('./note.js').Note} note
 * @param {import('./note.js').Key[]} known
 * @returns {{by: import('./note.js').Key, time: number}[]} seconds since 1970 UTC, as far as a number is exact
 * @throws {NoteError} if any of them is false
 */
export function verifyCosignatures(note, known) {
  const good = [];
  for (const line of note.signatures) {
    const by = keyOf(line, known);
    if (by === undefined || by.type !== TYPE_ED25519) continue;
    const time = timeOf(by, note.text, line.bytes);
    if (time === null) throw new NoteError(`the signature of \`${line.name}\` is false`);
    good.push({ by, time: Number(time) });
  }
  return good;
}

/** The time of a true cosignature: u64be seconds ‖ Ed25519, at most 2^63 - 1 seconds. */
function timeOf(by, text, bytes) {
  if (bytes.length !== 72) return null;
  const time = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
  const message = ENCODER.encode(`cosignature/v1\ntime ${time}\n${text}`);
  return time < 2n ** 63n && verifyEd25519(by.key, message, bytes.slice(8)) ? time : null;
}
