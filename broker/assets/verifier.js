// The verifier's worker. It believes nothing it is given but the keys the reader brought.

import { ContainerError } from './bundle.js';
import { parseSignedCheckpoint } from './checkpoint.js';
import { verifyNote } from './note.js';
import { parseProof, prove } from './proof.js';
import { recount } from './recount.js';
import { unreadable } from './report.js';
import { parseKeys } from './trust.js';
import { verify } from './verify.js';
import { openZip } from './zip.js';

/** Control characters of foreign text steer nothing. */
const visible = (text) => String(text).replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (c) => `\\u{${c.charCodeAt(0).toString(16)}}`);

/** One entry: its bytes hash to a leaf, the leaf leads to a root, the root is signed by a key the reader brought. */
function entry({ proof, seq, keys }) {
  const lines = [];
  const known = parseKeys(keys);
  const { index, checkpoint: note } = parseProof(proof);
  const signed = parseSignedCheckpoint(note);
  if (index !== seq) throw new Error(`the proof is of entry ${index}, not of ${seq}`);
  const header = prove(proof, signed.checkpoint);
  lines.push(`ok: the bytes of entry ${seq} are in the tree of ${signed.checkpoint.size} entries that the checkpoint commits to`);
  const good = verifyNote(signed.note, known);
  if (good.some((key) => key.name === header.log || key.name === signed.checkpoint.origin)) {
    lines.push(`ok: the checkpoint is signed by the key you gave`);
    return { state: 'ok', text: `Entry ${seq} is in the log, under the key you gave.`, lines };
  }
  lines.push('open: no key was given that signed the checkpoint');
  return { state: 'incomplete', text: 'The entry is in the tree, but who signed the tree cannot be told: give the ledger’s key you pinned.', lines };
}

async function bundle({ file, keys }) {
  let told;
  try {
    const source = await openZip(file);
    told = await verify(source, { keys: parseKeys(keys), seen: [] }, { now: Date.now() });
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error;
    told = unreadable(error.message);
  }
  const state = { 0: 'ok', 8: 'failed' }[told.exit] ?? 'incomplete';
  const lines = told.verdicts.map((one) => visible(`${one.state.replace('_', ' ')}: ${one.name}, ${one.text}`));
  return { state, text: visible(told.summary), lines };
}

/** The votes under a grant, each with a verdict of its own. */
async function votes({ entries, keys }) {
  const told = await recount(entries, parseKeys(keys));
  const line = ({ state, text }) => visible(`${state}: ${text}`);
  const seen = told.votes.map((vote) => ({ ...vote, text: visible(vote.text), shown: vote.shown.map((row) => row.map(visible)) }));
  const lines = [
    ...told.votes.map(line),
    line(told.granted),
    'open: that no passkey was retired before its vote, and no refusal is left out, only a bundle of the whole log shows',
  ];
  return { state: told.state, text: visible(told.text), lines, votes: seen };
}

const SORTS = { bundle, entry, votes };

addEventListener('message', async ({ data }) => {
  let answer;
  try {
    answer = await SORTS[data.sort](data);
  } catch (error) {
    answer = { state: 'failed', text: visible(error.message), lines: [] };
  }
  postMessage(answer);
});
