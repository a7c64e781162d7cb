// One function, one verdict per question: does what an auditor was handed hold (LEDGER.md §11)?
//
// It reads a bundle once, in order, in bounded memory, and believes nothing in it: hashes are computed again, signatures
// count only under keys the auditor pinned. It does not stop at the first fault: each verdict names its own first bad entry.

import { equal } from './base64.js';
import { readReceipts } from './bodies.js';
import { CHECKPOINT, ContainerError, FileError, MANIFEST, PROOF, parseManifest, parseProofs, smallFile } from './bundle.js';
import { parseSignedCheckpoint } from './checkpoint.js';
import { followHandovers, readHandovers } from './handover.js';
import { JsonError, utf8 } from './json.js';
import { NoteError, verifyNote } from './note.js';
import { Check, moment, report, unreadable, verdict } from './report.js';
import { edgeLength, verifyConsistency } from './tree.js';
import { judgeWitnesses } from './trust.js';
import { Walk } from './walk.js';

/** How far ahead of the auditor's clock another may be, milliseconds. */
const MAX_AHEAD = 5 * 60 * 1_000;

/**
 * Whom the auditor trusts: his own keys and memory.
 * @typedef {object} Trust
 * @property {import('./note.js').Key[]} keys of logs
 * @property {import('./trust.js').Policy} [policy] the witnesses, and which of them must have cosigned
 * @property {import('./checkpoint.js').Checkpoint[]} [seen] checkpoints the bundle's must extend
 */

/**
 * What he asks.
 * @typedef {object} Options
 * @property {number} now milliseconds since 1970 UTC
 * @property {number} [maxAge] how old the newest sign of life may be, milliseconds
 * @property {Uint8Array} [credential] SHA-256 of the to-be-signed bytes of a credential whose grant is looked for
 * @property {boolean} [all] whether every verdict is required
 * @property {(entries: number, of: number) => void | Promise<void>} [pace] is told how far it is, and waited for
 */

/**
 * Verifies a bundle. What cannot be read is a failed verdict, not an exception.
 * @param {import('./bundle.js').BundleSource} source
 * @param {Trust} trust
 * @param {Options} options
 * @returns {Promise<import('./report.js').Report>}
 */
export async function verify(source, trust, options) {
  try {
    const opened = await open(source);
    return await judge(source, opened, trust, options);
  } catch (error) {
    if (error instanceof FileError || error instanceof ContainerError) return unreadable(error.message);
    throw error;
  }
}

/** The small files of a bundle, parsed and consistent with each other. */
async function open(source) {
  const manifest = parseManifest(await smallFile(source, MANIFEST));
  const { checkpoint, note } = await readCheckpoint(source);
  const proofs = parseProofs(await smallFile(source, PROOF));
  const { from, to, size } = manifest;
  if (!(from <= to && to <= size && size <= Number.MAX_SAFE_INTEGER)) {
    throw new FileError(`entries ${from} to ${to} of ${size} are no range`);
  }
  if (checkpoint.origin !== manifest.log || checkpoint.size !== size) {
    const [theirs, ours] = [checkpoint.origin, manifest.log].map((log) => JSON.stringify(log));
    throw new FileError(`the checkpoint is of log ${theirs} at ${checkpoint.size}, the manifest of ${ours} at ${size}`);
  }
  if (proofs.left.length !== edgeLength(from)) {
    throw new FileError(`${PROOF}: a tree of size ${from} has ${edgeLength(from)} frontier nodes, not ${proofs.left.length}`);
  }
  return { manifest, checkpoint, note, proofs };
}

async function readCheckpoint(source) {
  try {
    return parseSignedCheckpoint(utf8(await smallFile(source, CHECKPOINT)));
  } catch (error) {
    if (error instanceof NoteError || error instanceof JsonError) {
      throw new FileError(`${CHECKPOINT} is unreadable: ${error.message}`);
    }
    throw error;
  }
}

async function judge(source, opened, trust, options) {
  const { manifest, checkpoint, note, proofs } = opened;
  const handovers = await readHandovers(source);
  const seen = trust.seen ?? [];
  const sizes = new Set([...seen, ...handovers.map((one) => one.checkpoint)].map((old) => old.size));
  const walk = new Walk(manifest, proofs.left, sizes, options.credential);
  const root = new Check();
  const outside = await readReceipts(source, checkpoint, root, manifest.from, (header) => walk.outside(header));
  await walk.run(source, outside, options.pace && ((read) => options.pace(read, manifest.to - manifest.from)));
  checkRoot(opened, walk, root);
  const pinned = trust.keys.filter((key) => key.name === checkpoint.origin);
  const keys = followHandovers(handovers, pinned, (old) => leads(old, opened, walk).state === 'ok');
  const witnessed = witnessing(trust.policy, note);
  const unasked = options.all ? 'incomplete' : 'not_asked';
  const verdicts = [
    walk.bytes.verdict('bytes', bytesText(walk, checkpoint)),
    walk.chain.verdict('chain', `${walk.read} entries, each linked to the one before`),
    root.verdict('root', `the entries lead to the root of checkpoint ${checkpoint.size}`),
    signature(note, checkpoint.origin, keys),
    append(seen, opened, walk, unasked),
    witnesses(witnessed, unasked),
    walk.complete(),
    fresh(witnessed, walk.lastTs, options, unasked),
    walk.passkeys.verdict(),
    walk.fold.verdict(),
  ];
  if (options.credential) verdicts.push(walk.granted());
  return report(manifest, walk, verdicts, options.all ?? false);
}

function bytesText({ read, opened, foreign }, { size }) {
  const kinds = foreign.size > 0 ? `; kinds this version does not know: ${[...foreign].sort().join(', ')}` : '';
  return `${read} headers have their form and ${opened} bodies their salt and openings; they hash to what checkpoint `
    + `${size} commits to${kinds}`;
}

/** `left` and the leaves give the root of `to`, and `right` leads from it to the checkpoint's. */
function checkRoot({ manifest, checkpoint, proofs }, walk, root) {
  const { from, to } = manifest;
  if (walk.frontier.size !== to) {
    root.fail(`the tree of ${to} entries cannot be built`);
    return;
  }
  const have = walk.frontier.root();
  const holds = to === 0
    ? proofs.right.length === 0 && (checkpoint.size > 0 || equal(have, checkpoint.root))
    : verifyConsistency(to, have, checkpoint.size, checkpoint.root, proofs.right);
  if (holds) return;
  // With every link sound only the last entry, or all from one on anew, can have been changed.
  const bad = walk.chain.failed?.seq ?? (to > from ? to - 1 : undefined);
  const at = `checkpoint ${checkpoint.size}`;
  root.fail(bad === undefined
    ? `the proof does not lead to the root of ${at}`
    : `entry ${bad} does not hash to what ${at} commits to, or the proof is false`, bad);
}

/** A key of the log that the auditor pinned, or that one of those handed over to, signed the checkpoint. */
function signature(note, log, keys) {
  const check = new Check();
  try {
    const signers = verifyNote(note, keys);
    if (keys.length === 0) check.doubt(`no pinned key of ${log}`);
    else if (signers.length === 0) check.doubt(`not signed by the pinned key of ${log}`);
  } catch (error) {
    if (!(error instanceof NoteError)) throw error;
    check.fail(error.message);
  }
  return check.verdict('signature', `signed by the pinned key of ${log}`);
}

function append(seen, opened, walk, unasked) {
  if (seen.length === 0) return verdict('append', unasked, 'no remembered checkpoint to extend');
  const check = new Check();
  for (const old of seen) {
    const { state, text } = leads(old, opened, walk);
    if (state === 'failed') check.fail(text);
    if (state === 'incomplete') check.doubt(text);
  }
  return check.verdict('append', `extends your checkpoint ${seen.at(-1).size}`);
}

/** How the bundle's checkpoint stands to an older one: by a root computed on the way, else by a proof it carries. */
function leads(old, { checkpoint, proofs }, walk) {
  const m = old.size;
  const { origin, size, root } = checkpoint;
  const holds = (good, text) => (good ? { state: 'ok', text: '' } : { state: 'failed', text });
  if (old.origin !== origin) return { state: 'incomplete', text: `your checkpoint is of log ${JSON.stringify(old.origin)}` };
  if (m > size) {
    const text = `the bundle ends at ${size}, your checkpoint is of ${m}: ask for a newer one`;
    return { state: 'incomplete', text };
  }
  if (m === size) {
    return holds(equal(old.root, root), `your checkpoint ${m} has another root: this is a fork; keep both notes`);
  }
  if (m === 0) return holds(true, '');
  const onTheWay = walk.roots.get(m);
  if (onTheWay) {
    const text = `the first ${m} entries are not those of your checkpoint: this is a fork`;
    return holds(equal(onTheWay, old.root), text);
  }
  const proof = proofs.since.get(m);
  if (!proof) return { state: 'incomplete', text: `the bundle has no proof from your checkpoint ${m}` };
  const text = `the proof from your checkpoint ${m} is false: this is a fork`;
  return holds(verifyConsistency(m, old.root, size, root, proof), text);
}

/** How the checkpoint stands with the auditor's witnesses; `undefined` if he names none. */
function witnessing(policy, note) {
  if (!policy) return undefined;
  try {
    return judgeWitnesses(policy, note);
  } catch (error) {
    if (error instanceof NoteError) return { fault: error.message };
    throw error;
  }
}

function witnesses(witnessed, unasked) {
  if (!witnessed) return verdict('witnesses', unasked, 'no trust file says who the witnesses are');
  const check = new Check();
  const { fault, met, by, missing } = witnessed;
  if (fault !== undefined) {
    check.fail(fault);
    return check.verdict('witnesses', '');
  }
  const cosigned = `${by.length} of ${by.length + missing.length} witnesses cosigned${by.length > 0 ? `: ${by.join(', ')}` : ''}`;
  if (!met) check.doubt(`the quorum is not met: ${cosigned}, and not ${missing.join(', ')}`);
  return check.verdict('witnesses', cosigned);
}

/** The newest cosignature, else the last entry, is not older than asked for. */
function fresh(witnessed, lastTs, { now, maxAge }, unasked) {
  if (maxAge === undefined) return verdict('fresh', unasked, 'no greatest age was given');
  const check = new Check();
  const cosigned = witnessed?.newest === undefined ? undefined : witnessed.newest * 1_000;
  const last = cosigned ?? lastTs;
  if (last === undefined) {
    check.doubt('nothing in the bundle tells how old it is');
    return check.verdict('fresh', '');
  }
  const text = `${cosigned === undefined ? 'the last entry' : 'the newest cosignature'} is of ${moment(last)}`;
  if (last > now + MAX_AHEAD) {
    if (cosigned === undefined) check.doubt(`${text}, which is still to come`);
    else check.fail(`${text}, which is still to come`);
  } else if (now - last > maxAge) {
    check.doubt(`${text}, older than asked for`);
  }
  return check.verdict('fresh', cosigned === undefined ? `${text}; no witness vouches for the time` : text);
}
