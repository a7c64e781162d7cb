// The one pass over a bundle's headers: links, leaves, forms, and what later verdicts ask of them. Keeps the frontier, the
// ranges without bodies and a few counts; never the headers.

import { digest, equal } from './base64.js';
import { Bodies } from './bodies.js';
import { HEADERS } from './bundle.js';
import { LintError, MAX_HEADER, lintHeader } from './canonical.js';
import { FormError, VersionError, headerOf } from './entry.js';
import { Fold } from './fold.js';
import { LineError, Lines } from './lines.js';
import { Passkeys, concernsPeople } from './passkeys.js';
import { Ranges } from './ranges.js';
import { Check } from './report.js';
import { HASH } from './sha256.js';
import { Frontier, leafHash } from './tree.js';

/** Most foreign kinds a report names. */
const MAX_FOREIGN = 8;
/** Entries between two looks at the clock. */
const PACE = 256;

export class Walk {
  /**
   * @param {import('./bundle.js').Manifest} manifest
   * @param {Uint8Array[]} left the frontier of size `from`
   * @param {Set<number | bigint>} sizes whose roots are computed on the way
   * @param {Uint8Array | undefined} credential hash of the to-be-signed bytes whose grant is looked for
   */
  constructor(manifest, left, sizes, credential) {
    const { from } = manifest;
    this.manifest = manifest;
    this.sizes = sizes;
    this.credential = credential;
    this.bytes = new Check();
    this.chain = new Check();
    this.frontier = new Frontier(from, left);
    this.fold = new Fold(from);
    this.passkeys = new Passkeys(manifest.log, from);
    /** Roots at the sizes that were asked for. */
    this.roots = new Map();
    /** The leaf before, where it is known: of an odd size it is the last node of the frontier. */
    this.prev = from === 0 ? new Uint8Array(HASH) : from % 2 === 1 ? left.at(-1) : undefined;
    /** The seq of an entry that does not link to the one before; the next link tells which of them is bad. */
    this.broken = undefined;
    this.ts = 0;
    this.read = 0;
    this.firstTs = undefined;
    this.lastTs = undefined;
    this.withheld = 0;
    this.opened = 0;
    this.missing = new Ranges();
    this.erased = new Ranges();
    this.foreign = new Set();
    this.grants = [];
  }

  /**
   * Reads headers and bodies side by side, to their ends.
   * @param {import('./bundle.js').BundleSource} source
   * @param {Map<number, import('./entry.js').Header>} outside
   * @param {(entries: number) => void | Promise<void>} [pace] is called every so many entries, and waited for
   */
  async run(source, outside, pace) {
    const bodies = await Bodies.open(source, outside, this.bytes);
    const stream = source.open(HEADERS);
    const lines = stream && new Lines(stream, MAX_HEADER);
    const { from, to } = this.manifest;
    await bodies.before(from, (header, body) => this.passkeys.follow(header, body));
    this.root();
    let seq = from;
    for (; ; seq++) {
      const line = await this.line(lines, seq);
      if (line === null) {
        if (seq < to) this.chain.fail(`entry ${seq} is missing: the headers end before it, not at ${to}`, seq);
        break;
      }
      if (seq >= to) {
        this.chain.fail(`there is an entry behind the last, ${to} in its place`, seq);
        break;
      }
      await this.entry(seq, line, bodies);
      if (pace && this.read % PACE === 0) await pace(this.read);
    }
    lines?.close();
    if (this.broken !== undefined) this.blameLater(this.broken);
    await bodies.finish();
    this.opened = bodies.opened;
  }

  async line(lines, seq) {
    if (lines === null) return null;
    try {
      return lines.next() ?? (await lines.line());
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      this.bytes.fail(`${HEADERS} ${error.message}, at entry ${seq}`, seq);
      return null;
    }
  }

  async entry(seq, line, bodies) {
    const header = this.header(seq, line);
    const body = await bodies.at(seq, header);
    if (header === undefined) return;
    this.note(header);
    if (body === undefined) this.isWithheld(header);
    if (concernsPeople(header)) await this.passkeys.follow(header, body ?? undefined);
    this.fold.follow(header, body ?? undefined);
  }

  /** One header: its leaf, its links, its form. `undefined` if it has no form this version knows. */
  header(seq, line) {
    this.read += 1;
    const leaf = leafHash(line);
    this.frontier.push(leaf);
    this.root();
    try {
      const value = this.linked(seq, line);
      this.prev = leaf;
      return headerOf(value);
    } catch (error) {
      this.prev = leaf;
      if (error instanceof VersionError) this.bytes.doubt(`entry ${seq}: ${error.message}`, seq);
      else if (error instanceof FormError || error instanceof LintError) {
        this.bytes.fail(`entry ${seq} is malformed: ${error.message}`, seq);
      } else throw error;
      return undefined;
    }
  }

  /** Links are checked whatever becomes of the form. */
  linked(seq, line) {
    let value;
    try {
      value = lintHeader(line);
    } catch (error) {
      if (error instanceof LintError) this.link(seq, undefined);
      throw error;
    }
    this.link(seq, value instanceof Map ? value : new Map());
    return value;
  }

  root() {
    const { size } = this.frontier;
    if (this.sizes.has(size)) this.roots.set(size, this.frontier.root());
  }

  link(seq, value) {
    const { chain } = this;
    const [prev, place, ts] = [digest(value?.get('prev')), count(value?.get('seq')), count(value?.get('ts'))];
    const sound = prev !== null && (this.prev === undefined || equal(prev, this.prev));
    if (this.broken !== undefined) {
      if (sound) this.blameEarlier(this.broken);
      else this.blameLater(this.broken);
      this.broken = undefined;
    }
    if (value === undefined) chain.fail(`entry ${seq} cannot be read`, seq);
    if (place === undefined) chain.fail(`entry ${seq} has no seq`, seq);
    else if (place !== seq) chain.fail(`entry ${seq} is not in its place: entry ${place} is`, seq);
    if (value?.get('log') !== this.manifest.log) chain.fail(`entry ${seq} is not of this log`, seq);
    // Beside a broken link a fall says nothing of its own: either entry may hold the false time.
    if (sound && (ts === undefined || ts < this.ts)) chain.fail(`time falls at entry ${seq}`, seq);
    this.ts = ts ?? this.ts;
    this.firstTs ??= this.ts;
    this.lastTs = this.ts;
    if (!sound && chain.holds) this.broken = seq;
  }

  /** Of a broken link the later entry is linked to soundly itself: the earlier one was changed. */
  blameEarlier(later) {
    const earlier = later - 1;
    if (later > this.manifest.from) {
      this.chain.fail(`entry ${earlier} is not the one entry ${later} was linked to`, earlier);
    } else {
      this.blameLater(later);
    }
  }

  /** Of a broken link nothing speaks for the later entry. */
  blameLater(later) {
    const text = later === 0 ? 'entry 0 does not begin the log' : `entry ${later} does not link to entry ${later - 1}`;
    this.chain.fail(text, later);
  }

  /**
   * What a proven entry outside the range says about those within. One within speaks for itself.
   * @param {import('./entry.js').Header} header
   */
  outside({ seq, kind, what }) {
    const { from, to } = this.manifest;
    if (kind === 'erased' && !(seq >= from && seq < to)) this.erase(what);
  }

  erase(what) {
    for (const [from, to] of what.get('ranges')) this.erased.add(from, to);
  }

  /** What an entry of the range says about others. */
  note({ seq, id, kind, known, what }) {
    if (!known) {
      if (this.foreign.size < MAX_FOREIGN) this.foreign.add(kind);
    } else if (kind === 'erased') {
      this.erase(what);
    } else if (kind === 'granted') {
      if (this.isSought(what.get('tbs')) && this.grants.length < 2) this.grants.push({ seq, id });
    }
  }

  isSought(tbs) {
    return this.credential !== undefined && equal(digest(tbs), this.credential);
  }

  isWithheld(header) {
    const { promise } = this.manifest;
    this.withheld += 1;
    if (promise && covers(promise, header)) this.missing.add(header.seq, header.seq + 1);
  }

  /** Each promised body is here, or its `erased` entry is. */
  complete() {
    const check = new Check();
    const { both, first } = this.missing.within(this.erased);
    if (first !== undefined) check.doubt(`the body of entry ${first} was promised and is not here`, first);
    if (this.missing.full) check.doubt('more promised bodies are missing than can be told apart');
    const promised = this.manifest.promise ? 'every promised body is here' : 'no body was promised';
    const counts = `${this.opened} bodies are open, ${this.withheld - both} withheld, ${both} erased`;
    return check.verdict('complete', `${promised}; ${counts}`);
  }

  /** The one grant of the credential. */
  granted() {
    const check = new Check();
    const [first, second] = this.grants;
    if (!first) check.fail('no grant in the range is for this credential');
    if (second) check.fail('more than one grant is for this credential', second.seq);
    return check.verdict('credential', first ? `granted by entry ${first.seq}, ${first.id}` : '');
  }
}

function covers({ kinds, who }, { kind, subj, by, behalf }) {
  const people = [subj, by, behalf];
  return (!kinds || kinds.has(kind)) && (!who || people.some((one) => one !== undefined && who.has(one)));
}

function count(value) {
  return typeof value === 'number' && value >= 0 ? value : undefined;
}
