// Keys that the log handed over to (LEDGER.md §12): `handover/SEQ.tlog-proof` has a checkpoint of the overlap with both
// signatures and the `key_added` of the new key; the present checkpoint extends it. Nothing of it counts unless the old key
// was trusted before.

import { ContainerError, smallFile } from './bundle.js';
import { parseSignedCheckpoint } from './checkpoint.js';
import { utf8 } from './json.js';
import { parseKey, sameKey, verifyNote } from './note.js';
import { parseProof, prove } from './proof.js';

const HANDOVER = 'handover/';
/** A key that lives for a month is handed over 60 times in five years. */
const MAX_HANDOVERS = 64;

/**
 * The handovers a bundle claims, oldest first. What cannot be read hands nothing over.
 * @param {import('./bundle.js').BundleSource} source
 */
export async function readHandovers(source) {
  const found = [];
  const names = source.names.filter((name) => name.startsWith(HANDOVER)).slice(0, MAX_HANDOVERS);
  for (const name of names) {
    try {
      const text = utf8(await smallFile(source, name));
      const { index, checkpoint } = parseProof(text);
      found.push({ text, index, ...parseSignedCheckpoint(checkpoint) });
    } catch (error) {
      if (error instanceof ContainerError) throw error;
    }
  }
  return found.sort((a, b) => (a.index < b.index ? -1 : a.index > b.index ? 1 : 0));
}

/**
 * `keys`, and those they handed over to.
 * @param {Awaited<ReturnType<typeof readHandovers>>} handovers
 * @param {import('./note.js').Key[]} keys
 * @param {(old: import('./checkpoint.js').Checkpoint) => boolean} leads whether the present checkpoint extends `old`
 */
export function followHandovers(handovers, keys, leads) {
  const trusted = [...keys];
  for (const handover of handovers) {
    const key = newKey(handover, trusted);
    if (key && leads(handover.checkpoint) && !trusted.some((known) => sameKey(known, key))) trusted.push(key);
  }
  return trusted;
}

function newKey({ text, checkpoint, note }, keys) {
  try {
    if (!verifyNote(note, keys).some((key) => key.name === checkpoint.origin)) return undefined;
    const { kind, what } = prove(text, checkpoint);
    if (kind !== 'key_added' || what.get('use') !== 'log') return undefined;
    const key = parseKey(what.get('vkey') ?? '');
    return key.name === checkpoint.origin && verifyNote(note, [key]).length > 0 ? key : undefined;
  } catch {
    return undefined;
  }
}
