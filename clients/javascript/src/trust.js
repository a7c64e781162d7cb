// Whom the auditor trusts: pinned log keys, and a C2SP tlog-policy of witnesses (LEDGER.md §13). His own, nobody else's:
// nothing a bundle carries ever gets in here.

import { equal } from './base64.js';
import { decimal } from './checkpoint.js';
import { WITNESS_KEYS, verifyCosignatures } from './cosign.js';
import { KeyError, parseKey } from './note.js';

/** Largest policy file, bytes. */
const MAX_POLICY = 1 << 20;

/** A line that cannot be taken; the message names it. */
export class TrustError extends Error {}

/**
 * @typedef {object} Policy
 * @property {import('./note.js').Key[]} logs
 * @property {{name: string, key: import('./note.js').Key}[]} witnesses
 * @property {{name: string, threshold: number, members: string[]}[]} groups
 * @property {string} quorum the name of a witness or a group, or `none`
 */

/**
 * Pinned keys: one verifier key a line, `#` begins a comment.
 * @param {string} text
 * @returns {import('./note.js').Key[]}
 * @throws {TrustError}
 */
export function parseKeys(text) {
  const keys = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    const vkey = line.split('#')[0].trim();
    if (vkey === '') continue;
    keys.push(at(i, () => parseKey(vkey)));
  }
  return keys;
}

/**
 * Reads a policy strictly: names are defined before they are used, and a name is a member at most once.
 * @param {Uint8Array} bytes
 * @returns {Policy}
 * @throws {TrustError}
 */
export function parsePolicy(bytes) {
  if (bytes.length > MAX_POLICY) throw new TrustError(`more than ${MAX_POLICY} bytes`);
  const reader = new PolicyReader();
  const lines = new TextDecoder('latin1').decode(bytes).split('\n');
  if (lines.pop() !== '') throw new TrustError('the last line does not end in a line feed');
  let offset = 0;
  for (const [i, line] of lines.entries()) {
    const raw = bytes.subarray(offset, offset + line.length);
    at(i, () => reader.line(raw));
    offset += line.length + 1;
  }
  if (reader.policy.quorum === undefined) throw new TrustError('no `quorum` line');
  return reader.policy;
}

function at(line, read) {
  try {
    return read();
  } catch (error) {
    if (error instanceof KeyError || error instanceof TrustError) {
      throw new TrustError(`line ${line + 1}: ${error.message}`);
    }
    throw error;
  }
}

class PolicyReader {
  constructor() {
    /** @type {Policy} */
    this.policy = { logs: [], witnesses: [], groups: [], quorum: undefined };
    this.names = new Set();
    this.used = new Set();
  }

  line(raw) {
    for (const byte of raw) {
      if ((byte < 0x20 && byte !== 0x09) || byte === 0x7f) throw new TrustError('a control character');
    }
    const words = splitWords(raw);
    if (words.length === 0) return;
    const [keyword, ...rest] = words.map(decodeWord);
    const form = { log: 'log', witness: 'witness', group: 'group', quorum: 'quorum' }[keyword];
    if (form === undefined || !Object.hasOwn(FORMS, form)) throw new TrustError(`a line begins with \`${keyword}\``);
    this[form](rest);
  }

  log(words) {
    if (words.length < 1 || words.length > 2) throw new TrustError(FORMS.log);
    const key = parseKey(words[0]);
    if (this.policy.logs.some((log) => equal(log.key, key.key))) throw new TrustError('a public key twice');
    this.policy.logs.push(key);
  }

  witness(words) {
    if (words.length < 2 || words.length > 3) throw new TrustError(FORMS.witness);
    const name = this.fresh(words[0]);
    const key = parseKey(words[1], WITNESS_KEYS);
    const same = (other) => other.key.type === key.type && equal(other.key.key, key.key);
    if (this.policy.witnesses.some(same)) throw new TrustError('a public key twice');
    this.policy.witnesses.push({ name, key });
    this.names.add(name);
  }

  group(words) {
    if (words.length < 2) throw new TrustError(FORMS.group);
    const name = this.fresh(words[0]);
    const members = words.slice(2);
    const threshold = thresholdOf(words[1], members.length);
    for (const member of members) {
      this.known(member);
      if (this.used.has(member)) throw new TrustError(`\`${member}\` is a member of a group already`);
      this.used.add(member);
    }
    this.policy.groups.push({ name, threshold, members });
    this.names.add(name);
  }

  quorum(words) {
    if (words.length !== 1) throw new TrustError(FORMS.quorum);
    if (words[0] !== 'none') this.known(words[0]);
    if (this.policy.quorum !== undefined) throw new TrustError('a second `quorum` line');
    [this.policy.quorum] = words;
  }

  fresh(name) {
    if (name === 'none' || this.names.has(name)) throw new TrustError(`\`${name}\` is taken`);
    return name;
  }

  known(name) {
    if (!this.names.has(name)) throw new TrustError(`\`${name}\` is not defined before this line`);
  }
}

const FORMS = {
  log: 'the form is `log VKEY [URL]`',
  witness: 'the form is `witness NAME VKEY [URL]`',
  group: 'the form is `group NAME all|any|K MEMBER…`',
  quorum: 'the form is `quorum NAME|none`',
};

/** Space and tab alone part words; a word that begins with `#` at the front of a line begins a comment. */
function splitWords(raw) {
  const words = [];
  let from = 0;
  for (let i = 0; i <= raw.length; i++) {
    if (i < raw.length && raw[i] !== 0x20 && raw[i] !== 0x09) continue;
    if (i > from) words.push(raw.subarray(from, i));
    from = i + 1;
  }
  return words.length > 0 && words[0][0] === 0x23 ? [] : words;
}

function decodeWord(raw) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw);
  } catch {
    throw new TrustError('a word that is not UTF-8');
  }
}

function thresholdOf(word, members) {
  const number = word === 'all' ? members : word === 'any' ? 1 : decimal(word);
  if (number === null || number < 1 || number > members) {
    throw new TrustError(`\`${word}\` of ${members} members: say \`all\`, \`any\` or a number from 1 to ${members}`);
  }
  return Number(number);
}

/**
 * Checks the cosignatures of `note`, and whether they satisfy the quorum.
 * @param {Policy} policy
 * @param {import('./note.js').Note} note
 * @returns {{met: boolean, by: string[], missing: string[], newest: number | undefined}} names, and the newest time
 * @throws {import('./note.js').NoteError} if a known witness's signature is false
 */
export function judgeWitnesses(policy, note) {
  const good = verifyCosignatures(note, policy.witnesses.map((witness) => witness.key));
  const did = new Set();
  for (const { name, key } of policy.witnesses) if (good.some((one) => one.by === key)) did.add(name);
  const held = new Set(did);
  for (const { name, threshold, members } of policy.groups) {
    if (members.filter((member) => held.has(member)).length >= threshold) held.add(name);
  }
  const asked = reach(policy);
  const counting = policy.witnesses.map((witness) => witness.name).filter((name) => asked.has(name));
  return {
    met: policy.quorum === 'none' || held.has(policy.quorum),
    by: counting.filter((name) => did.has(name)),
    missing: counting.filter((name) => !did.has(name)),
    newest: good.length > 0 ? Math.max(...good.map((one) => one.time)) : undefined,
  };
}

/** All that the quorum refers to, itself included: a group refers only to what stands before it. */
function reach(policy) {
  const names = new Set([policy.quorum]);
  for (const { name, members } of [...policy.groups].reverse()) {
    if (names.has(name)) members.forEach((member) => names.add(member));
  }
  return names;
}
