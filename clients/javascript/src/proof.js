// C2SP tlog-proof (LEDGER.md §9, §13): one file that proves one entry. Its `extra` line is the header.

import { fromBase64 } from './base64.js';
import { decimal } from './checkpoint.js';
import { parseHeader } from './entry.js';
import { leafHash, verifyInclusion } from './tree.js';

/** Sizes stay below 2^63, so a path has at most as many hashes. */
const MAX_PATH = 63;
const MAGIC = 'c2sp.org/tlog-proof@v1';

/** A text that proves nothing; the message says why. */
export class ProofError extends Error {}

/**
 * @param {string} text
 * @returns {{extra: Uint8Array | undefined, index: number | bigint, path: Uint8Array[], checkpoint: string}}
 * @throws {ProofError}
 */
export function parseProof(text) {
  const at = text.indexOf('\n\n');
  if (at < 0) throw new ProofError('not a tlog-proof: no empty line');
  const lines = text.slice(0, at).split('\n');
  if (lines.shift() !== MAGIC) throw new ProofError('not a tlog-proof: another first line');
  let extra;
  if (lines[0]?.startsWith('extra ')) {
    extra = fromBase64(lines.shift().slice('extra '.length));
    if (extra === null) throw new ProofError('not a tlog-proof: the extra line is not base64');
  }
  const line = lines.shift() ?? '';
  const index = line.startsWith('index ') ? decimal(line.slice('index '.length)) : null;
  if (index === null) throw new ProofError('not a tlog-proof: no index');
  const path = lines.map(fromBase64);
  if (path.length > MAX_PATH || path.some((hash) => hash?.length !== 32)) {
    throw new ProofError('not a tlog-proof: a hash line');
  }
  return { extra, index, path, checkpoint: text.slice(at + 2) };
}

/**
 * The header that `text` proves to be in the tree of `checkpoint`, which is believed already.
 * @param {string} text
 * @param {import('./checkpoint.js').Checkpoint} checkpoint
 * @returns {import('./entry.js').Header}
 * @throws {Error} whose message says what is wrong
 */
export function prove(text, checkpoint) {
  const { extra, index, path } = parseProof(text);
  if (extra === undefined) throw new ProofError('the proof carries no header');
  const header = parseHeader(extra);
  if (header.seq !== index || header.log !== checkpoint.origin) {
    throw new ProofError('the header is of another log or another place in it');
  }
  if (!verifyInclusion(leafHash(extra), index, checkpoint.size, path, checkpoint.root)) {
    throw new ProofError(`entry ${index} is not in the tree the checkpoint commits to`);
  }
  return header;
}
