// Who is behind a pseudonym (LEDGER.md §4): an opening opens one pseudonym and no other, and one identity has one
// pseudonym in a log, or a filter would hide entries.

import { digest, equal, toBase64Url } from './base64.js';
import { HASH, hmacSha256, sha256 } from './sha256.js';

/** Most identities that are held to one pseudonym each; 64 bytes each. */
export const MAX_IDENTITIES = 7 << 16;
/** Openings that were seen lately, so that a caller's thousandth grant costs no HMAC. */
const MAX_RECENT = 4_096;
/** Longest opening that is remembered: what a body can hold must not fill the memory. */
const MAX_RECENT_LENGTH = 1_024;

/** What is wrong with an opening; the message is the rest of a sentence. */
export class OpeningError extends Error {}

const ENCODER = new TextEncoder();

/**
 * `HMAC-SHA256(S, id)`.
 * @param {Uint8Array} open S
 * @param {string} id
 */
export function pseudonym(open, id) {
  return hmacSha256(open, ENCODER.encode(id));
}

/** The pseudonym each opened identity goes by. */
export class Identities {
  constructor() {
    this.known = new DigestMap();
    this.recent = new Map();
    /** Whether an identity was left out, because there were too many. */
    this.full = false;
  }

  /**
   * The pseudonym that an `{id, open, …}` opens; `undefined` if it is no opening.
   * @param {import('./json.js').Value | undefined} who
   * @returns {string | undefined}
   * @throws {OpeningError}
   */
  opened(who) {
    if (!(who instanceof Map)) return undefined;
    const [id, open] = [who.get('id'), who.get('open')];
    if (typeof id !== 'string' || typeof open !== 'string') return undefined;
    const lately = `${open}\n${id}`;
    const known = this.recent.get(lately);
    if (known !== undefined) return known;
    const bytes = digest(open);
    if (bytes === null) throw new OpeningError(`has an opening of ${JSON.stringify(id)} that is no digest`);
    const name = this.note(id, pseudonym(bytes, id));
    if (this.recent.size >= MAX_RECENT) this.recent.clear();
    if (lately.length <= MAX_RECENT_LENGTH) this.recent.set(lately, name);
    return name;
  }

  /**
   * @param {string} id
   * @param {Uint8Array} name
   * @returns {string}
   * @throws {OpeningError} if it goes by another already
   */
  note(id, name) {
    const key = sha256(ENCODER.encode(id));
    const known = this.known.get(key);
    if (known && !equal(known, name)) throw new OpeningError(`gives ${JSON.stringify(id)} a second pseudonym`);
    if (!known) {
      if (this.known.size < MAX_IDENTITIES) this.known.set(key, name);
      else this.full = true;
    }
    return toBase64Url(name);
  }
}

/** Digests by digests, in one array: a Map of strings would take five times the room. */
class DigestMap {
  constructor() {
    this.size = 0;
    this.slots = 1 << 10;
    this.table = new Uint8Array(this.slots * 2 * HASH);
    this.used = new Uint8Array(this.slots);
  }

  /** The slot of `key`, or the empty one it would have. Keys are hashes already, so their first bytes spread well. */
  slot(key) {
    let at = ((key[0] << 24) | (key[1] << 16) | (key[2] << 8) | key[3]) & (this.slots - 1);
    while (this.used[at] && !this.holds(at, key)) at = (at + 1) & (this.slots - 1);
    return at;
  }

  holds(at, key) {
    const from = at * 2 * HASH;
    for (let i = 0; i < HASH; i++) if (this.table[from + i] !== key[i]) return false;
    return true;
  }

  get(key) {
    const at = this.slot(key);
    const from = at * 2 * HASH + HASH;
    return this.used[at] ? this.table.subarray(from, from + HASH) : undefined;
  }

  set(key, value) {
    if (8 * (this.size + 1) > 7 * this.slots) this.grow();
    const at = this.slot(key);
    this.used[at] = 1;
    this.table.set(key, at * 2 * HASH);
    this.table.set(value, at * 2 * HASH + HASH);
    this.size += 1;
  }

  grow() {
    const { slots, table, used } = this;
    this.size = 0;
    this.slots = 2 * slots;
    this.table = new Uint8Array(this.slots * 2 * HASH);
    this.used = new Uint8Array(this.slots);
    for (let at = 0; at < slots; at++) {
      if (!used[at]) continue;
      const from = at * 2 * HASH;
      this.set(table.subarray(from, from + HASH), table.subarray(from + HASH, from + 2 * HASH));
    }
  }
}
