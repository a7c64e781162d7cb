// Finding entries in a bundle, for people to read. Nothing is kept: each search reads the bundle again, so that a million
// entries take no more memory than ten.

import { BODIES, HEADERS } from './bundle.js';
import { MAX_BODY, MAX_HEADER } from './canonical.js';
import { LineError, Lines } from './lines.js';

/** Entries between two looks at the clock. */
const PACE = 256;
const TAB = 0x09;
const DECODER = new TextDecoder();

/**
 * An entry as it stands in the file, its texts not checked: the verdicts say whether to believe them.
 * @typedef {object} Found
 * @property {number} seq its place in the file
 * @property {string} header
 * @property {string | undefined} body
 */

/**
 * The entries that hold `text` in header or body, and are of `kind`; or the one of seq `text`.
 * @param {import('./bundle.js').BundleSource} source
 * @param {number} from the first seq
 * @param {{text: string, kind: string, seq?: number}} asked empty texts ask for nothing
 * @param {() => void | Promise<void>} [pace] is called every so many entries, and waited for
 * @returns {AsyncGenerator<Found, void>}
 */
export async function* search(source, from, asked, pace) {
  const headers = new Lines(source.open(HEADERS) ?? NOTHING, MAX_HEADER);
  const bodies = new BodyLines(source);
  try {
    for (let seq = from; ; seq++) {
      const line = headers.next() ?? (await headers.line());
      if (line === null) return;
      const found = { seq, header: DECODER.decode(line), body: await bodies.at(seq) };
      if (matches(found, asked)) yield found;
      if (seq === asked.seq) return;
      if (pace && seq % PACE === 0) await pace();
    }
  } catch (error) {
    if (!(error instanceof LineError)) throw error;
  } finally {
    headers.close();
    bodies.close();
  }
}

const NOTHING = { read: async () => null, close: () => {} };

function matches({ seq, header, body }, asked) {
  if (asked.seq !== undefined) return seq === asked.seq;
  if (asked.kind !== '' && !header.includes(`"kind":"${asked.kind}"`)) return false;
  return header.includes(asked.text) || (body?.includes(asked.text) ?? false);
}

/** The bodies that are there, by seq, ascending. */
class BodyLines {
  constructor(source) {
    this.lines = new Lines(source.open(BODIES) ?? NOTHING, MAX_BODY + 21);
    this.seq = -1;
    this.line = null;
    this.ended = false;
  }

  async at(seq) {
    while (this.seq < seq && !this.ended) await this.advance();
    return this.seq === seq ? DECODER.decode(this.line) : undefined;
  }

  async advance() {
    const line = this.lines.next() ?? (await this.lines.line());
    const tab = line === null ? -1 : line.indexOf(TAB);
    if (tab < 0) {
      this.ended = true;
      return;
    }
    this.seq = Number(DECODER.decode(line.subarray(0, tab)));
    this.line = line.subarray(tab + 1);
    this.ended = !(this.seq >= 0);
  }

  close() {
    this.lines.close();
  }
}
