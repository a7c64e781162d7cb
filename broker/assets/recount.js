// The votes under one grant, counted again from a handful of entries: what the whole log would say besides is left open.

import { Lie } from './ballot.js';
import { digest, equal } from './base64.js';
import { parseSignedCheckpoint } from './checkpoint.js';
import { parseBody } from './entry.js';
import { verifyNote } from './note.js';
import { Passkeys, concernsPeople } from './passkeys.js';
import { parseProof, prove } from './proof.js';
import { sha256 } from './sha256.js';

/** Keeps what is wrong with each entry, not only the first. */
class Recount extends Passkeys {
  constructor(log) {
    super(log, 0);
    // What is not among these entries may be elsewhere in the log.
    this.full = true;
    this.told = new Map();
  }

  fault(seq, error) {
    this.told.set(seq, error);
    super.fault(seq, error);
  }

  of(seq, holds) {
    const error = this.told.get(seq);
    if (error === undefined) return { state: 'ok', text: holds };
    return { state: error instanceof Lie ? 'failed' : 'incomplete', text: `entry ${seq} ${error.message}` };
  }
}

/** One entry, held to the tree it is said to be in and to its own hash. */
function read({ proof, body }, keys) {
  const { checkpoint } = parseProof(proof);
  const signed = parseSignedCheckpoint(checkpoint);
  const header = prove(proof, signed.checkpoint);
  const pinned = verifyNote(signed.note, keys).some((key) => key.name === header.log);
  if (body === null) return { header, pinned };
  const bytes = new TextEncoder().encode(body);
  if (!equal(sha256(bytes), digest(header.body))) throw new Error(`the body of entry ${header.seq} is not the one that was recorded`);
  return { header, pinned, what: parseBody(bytes) };
}

/** The rows of the facts, and for how long. */
function shown(what) {
  const rows = what?.get('facts')?.get('shown');
  const isRow = (row) => Array.isArray(row) && row.length === 2 && row.every((cell) => typeof cell === 'string');
  return Array.isArray(rows) ? rows.filter(isRow) : [];
}

/**
 * @param {{proof: string, body: string | null}[]} entries
 * @param {import('./note.js').Key[]} keys those the reader pinned
 */
export async function recount(entries, keys) {
  const all = entries.map((entry) => read(entry, keys)).sort((a, b) => a.header.seq - b.header.seq);
  const told = new Recount(all[0]?.header.log);
  for (const { header, what } of all) if (concernsPeople(header)) await told.follow(header, what);
  const cast = all.filter(({ header }) => header.kind === 'voted');
  const votes = cast.map(({ header, what }) => {
    const key = what?.get('key_seq');
    const holds = `by the passkey of entry ${key}, over the facts below, in entry ${header.seq}`;
    const verdict = told.of(header.seq, holds);
    return { id: header.id, ...verdict, shown: verdict.state === 'ok' ? shown(what) : [] };
  });
  const grant = all.find(({ header }) => header.kind === 'granted');
  if (grant === undefined) throw new Error('the grant is not among the entries');
  const granted = told.of(grant.header.seq, `entry ${grant.header.seq} is a grant that enough of them, and nobody’s no, stand behind`);
  const pinned = all.every((entry) => entry.pinned);
  return { votes, granted, pinned, ...sum([...votes, granted], pinned) };
}

function sum(verdicts, pinned) {
  const bad = verdicts.find(({ state }) => state === 'failed') ?? verdicts.find(({ state }) => state === 'incomplete');
  if (bad !== undefined) return { state: bad.state, text: `${bad.text}.` };
  const votes = verdicts.length - 1;
  const held = `${votes === 1 ? 'The vote is' : `All ${votes} votes are`} signed over what was shown, and the grant rests on them`;
  if (pinned) return { state: 'ok', text: `${held}, in the log whose key you gave.` };
  return { state: 'incomplete', text: `${held}. Whether this is the log you know cannot be told: give its key as you pinned it.` };
}
