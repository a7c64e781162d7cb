// The disclosed half of a bundle: bodies against their headers, identities against their pseudonyms, and entries outside
// the range against the checkpoint.

import { digest, equal, toBase64Url } from './base64.js';
import { BODIES, ContainerError, OPENINGS, RECEIPTS, smallFile } from './bundle.js';
import { LintError, MAX_BODY, lintHeader } from './canonical.js';
import { decimal } from './checkpoint.js';
import { FormError, parseBody } from './entry.js';
import { Identities, MAX_IDENTITIES, OpeningError, pseudonym } from './identities.js';
import { JsonError, utf8 } from './json.js';
import { DECISIONS } from './kinds.js';
import { LineError, Lines } from './lines.js';
import { concernsPeople } from './passkeys.js';
import { prove } from './proof.js';
import { sha256 } from './sha256.js';

/** Most `receipts/` of one bundle, and most bytes of all of them. */
const MAX_RECEIPTS = 65_536;
const MAX_RECEIPT_BYTES = 1 << 28;
/** Longest line of `bodies.tsv`: 20 digits, a tab, a body. */
const MAX_BODY_LINE = MAX_BODY + 21;
/** Longest line of `openings.tsv`: two digests, two tabs, an id. */
const MAX_OPENING_LINE = 4_096;

const TAB = 0x09;

/**
 * Reads and proves `receipts/SEQ.tlog-proof`: what bodies of entries outside the range are held to.
 * @param {import('./bundle.js').BundleSource} source
 * @param {import('./checkpoint.js').Checkpoint} checkpoint
 * @param {import('./report.js').Check} root where a false one is a fault
 * @param {(header: import('./entry.js').Header) => void} note is told each header
 * @param {number} from the first seq of the range: what was before it and concerns people keeps its `what`
 * @returns {Promise<Map<number, import('./entry.js').Header>>}
 */
export async function readReceipts(source, checkpoint, root, from, note) {
  const outside = new Map();
  let length = 0;
  const names = source.names.filter((name) => name.startsWith(RECEIPTS));
  for (const [n, name] of names.entries()) {
    if (n === MAX_RECEIPTS || length > MAX_RECEIPT_BYTES) {
      root.fail(`more than ${MAX_RECEIPTS} receipts, or ${MAX_RECEIPT_BYTES} bytes of them`);
      break;
    }
    try {
      const bytes = await smallFile(source, name);
      length += bytes.length;
      const header = prove(utf8(bytes), checkpoint);
      note(header);
      const kept = header.seq < from && concernsPeople(header) ? header.what : undefined;
      outside.set(header.seq, { ...header, what: kept, old: recordOf(header) });
    } catch (error) {
      if (error instanceof ContainerError) throw error;
      root.fail(`${name}: ${error.message}`);
    }
  }
  return outside;
}

/** The bodies of a bundle, read beside its headers. */
export class Bodies {
  /**
   * @param {import('./bundle.js').BundleSource} source
   * @param {Map<number, import('./entry.js').Header>} outside
   * @param {import('./report.js').Check} bytes
   */
  static async open(source, outside, bytes) {
    const bodies = new Bodies(outside, bytes);
    await bodies.readOpenings(source);
    const stream = source.open(BODIES);
    bodies.lines = stream && new Lines(stream, MAX_BODY_LINE);
    await bodies.advance();
    return bodies;
  }

  constructor(outside, bytes) {
    this.outside = outside;
    this.bytes = bytes;
    this.identities = new Identities();
    /** The body at hand. */
    this.seq = undefined;
    this.body = undefined;
    this.last = undefined;
    /** How many were checked. */
    this.opened = 0;
  }

  async readOpenings(source) {
    const stream = source.open(OPENINGS);
    if (stream === null) return;
    const lines = new Lines(stream, MAX_OPENING_LINE);
    try {
      for (let line = await lines.line(); line !== null; line = await lines.line()) this.opening(line);
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      this.bytes.fail(`${OPENINGS} ${error.message}`);
      lines.close();
    }
  }

  /** A false opening is a fault; the others count all the same. */
  opening(line) {
    try {
      this.opens(line);
    } catch (error) {
      if (!(error instanceof OpeningError)) throw error;
      this.bytes.fail(`${OPENINGS} ${error.message}`);
    }
  }

  opens(line) {
    const parts = text(line)?.split('\t') ?? [];
    const [subj, id] = [digest(parts[0]), parts[1]];
    const open = digest(parts[2]);
    if (parts.length !== 3 || !subj || !open) throw new OpeningError('has a line that is not pseudonym, id and opening');
    if (!equal(pseudonym(open, id), subj)) throw new OpeningError(`has ${JSON.stringify(id)}, which does not open ${parts[0]}`);
    this.identities.note(id, subj);
  }

  /**
   * The `what` of the body of entry `seq`, checked against `header`; `null` if it is here and not good, `undefined` if it is
   * not here.
   * @param {number} seq
   * @param {import('./entry.js').Header | undefined} header
   */
  async at(seq, header) {
    await this.until(seq);
    if (this.seq !== seq) return undefined;
    const { body } = this;
    const what = header === undefined ? null : this.check(header, body);
    await this.advance();
    return what;
  }

  /**
   * The entries before the range that concern people, in order, with the `what` of their bodies where they are here.
   * @param {number} from
   * @param {(header: import('./entry.js').Header, body: Map<string, import('./json.js').Value> | undefined) => Promise<void>} take
   */
  async before(from, take) {
    const seqs = [...this.outside.keys()].filter((seq) => this.outside.get(seq).what !== undefined && seq < from);
    for (const seq of seqs.sort((a, b) => a - b)) {
      const header = this.outside.get(seq);
      await take(header, (await this.at(seq, header)) ?? undefined);
    }
  }

  /** The bodies behind the range. */
  async finish() {
    await this.until(Infinity);
    if (this.identities.full) this.bytes.doubt(`more than ${MAX_IDENTITIES} identities: not all are told apart`);
    this.lines?.close();
  }

  /** Bodies before `seq` that no header of the range asked for: of entries outside it. */
  async until(seq) {
    while (this.seq !== undefined && this.seq < seq) {
      const header = this.outside.get(this.seq);
      if (header === undefined) this.bytes.fail(`body ${this.seq} belongs to no entry here`, this.seq);
      else this.check(header, this.body);
      await this.advance();
    }
  }

  /** Holds a body to its header. */
  check(header, body) {
    try {
      if (toBase64Url(sha256(body)) !== header.body) throw new FormError('is not the one its header commits to');
      const what = parsed(body);
      this.openAll(header, what);
      const old = header.old ?? recordOf(header);
      if (old !== undefined) broughtBack(old, what);
      this.opened += 1;
      return what;
    } catch (error) {
      if (!(error instanceof FormError || error instanceof OpeningError)) throw error;
      this.bytes.fail(`the body of entry ${header.seq} ${error.message}`, header.seq);
      return null;
    }
  }

  /** Only members that are ours are openings: claims and queries hold foreign text in any shape. */
  openAll(header, what) {
    const list = (name) => (Array.isArray(what.get(name)) ? what.get(name) : []);
    const holder = what.get('caller') ?? what.get('person');
    const actor = what.get('approver') ?? what.get('actor');
    for (const [name, who] of [['subj', holder], ['by', actor], ['behalf', list('chain')[0]]]) {
      const opened = this.identities.opened(who);
      if (opened !== undefined && opened !== header[name]) {
        throw new OpeningError(`opens another ${name} than its header carries`);
      }
      if (name === 'subj' && opened === undefined && DECISIONS.has(header.kind)) {
        throw new OpeningError('does not open its caller');
      }
    }
    for (const who of [...list('chain'), ...list('actors'), what.get('initiator')]) this.identities.opened(who);
  }

  async advance() {
    [this.seq, this.body] = [undefined, undefined];
    if (!this.lines) return;
    let line;
    try {
      line = this.lines.next() ?? (await this.lines.line());
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      this.bytes.fail(`${BODIES} ${error.message}`);
      return this.stop();
    }
    if (line === null) return this.stop();
    const tab = line.indexOf(TAB);
    const seq = tab < 0 ? null : decimal(text(line.subarray(0, tab)) ?? '');
    if (seq === null) {
      this.bytes.fail(`${BODIES} has a line that is no seq and body`);
      return this.stop();
    }
    if (this.last !== undefined && seq <= this.last) {
      this.bytes.fail(`body ${seq} stands behind body ${this.last}`, seq);
      return this.stop();
    }
    [this.seq, this.last, this.body] = [seq, seq, line.subarray(tab + 1)];
  }

  stop() {
    this.lines.close();
    this.lines = null;
  }
}

/** Of which entry of the log before it this one is the record (LEDGER.md §5, `recovery`). */
function recordOf({ kind, what }) {
  return kind === 'recovery' && what?.get('form') === 'entry' ? what.get('old') : undefined;
}

/**
 * A body has the header of entry `old` of another log, and its body, if any, is the one that header commits to. Whose
 * pseudonyms are in there is that log's affair.
 */
function broughtBack(old, what) {
  const header = foundHeader(what.get('header'));
  if (header?.get('seq') !== old) throw new FormError(`does not hold the header of entry ${old}`);
  if (!what.has('body')) return;
  const body = what.get('body');
  const is = typeof body === 'string' && toBase64Url(sha256(new TextEncoder().encode(body))) === header.get('body');
  if (!is) throw new FormError(`holds another body than that of entry ${old}`);
}

function foundHeader(text) {
  if (typeof text !== 'string') return undefined;
  try {
    return lintHeader(new TextEncoder().encode(text));
  } catch (error) {
    if (error instanceof LintError) return undefined;
    throw error;
  }
}

function parsed(body) {
  try {
    return parseBody(body);
  } catch (error) {
    if (error instanceof LintError || error instanceof FormError) throw new FormError(`is malformed: ${error.message}`);
    throw error;
  }
}

function text(bytes) {
  try {
    return utf8(bytes);
  } catch (error) {
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}
