// The one spelling of a JSON value: RFC 8785 without floats and null (LEDGER.md §2).
//
// Two readers on purpose. `strict` walks the text once and takes nothing but the canonical spelling: it is the one that
// decides, and a million headers go through it. Only when it refuses does `explain` read the same bytes leniently, to say
// which rule they break.

import { Inexact, JsonError, parseJson } from './json.js';

/** Longest header, bytes. */
export const MAX_HEADER = 4_096;
/** Longest body, bytes. */
export const MAX_BODY = 65_536;
/** Deepest nesting of a body; the outer object is 1. */
const MAX_DEPTH = 16;
/** Deepest nesting of a header. */
const MAX_HEADER_DEPTH = 4;

/** Bytes that break a rule; the message says which. */
export class LintError extends Error {}

const NOT_PLAIN = 'a header holds more than printable ASCII and integers from 0 to 2^53 - 1';
const TWIN = 'not the canonical spelling of its value';
const INTEGER = 'a number is not an integer within ±(2^53 - 1)';

/** How `strict` says no; made once, since a stack trace costs more than a header. */
const REFUSED = new Error('not canonical');

const SPECIAL = /[\u0000-\u001f\\]/;

const ASCII = new TextDecoder('latin1');
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Lints a header: canonical, printable ASCII without escapes, integers from 0 on.
 * @param {Uint8Array} bytes
 * @returns {import('./json.js').Value}
 * @throws {LintError}
 */
export function lintHeader(bytes) {
  plain(bytes);
  return lint(bytes, ASCII, MAX_HEADER_DEPTH);
}

/**
 * Lints a body.
 * @param {Uint8Array} bytes
 * @returns {import('./json.js').Value}
 * @throws {LintError}
 */
export function lintBody(bytes) {
  if (bytes.length > MAX_BODY) throw new LintError(`longer than ${MAX_BODY} bytes`);
  return lint(bytes, UTF8, MAX_DEPTH);
}

function lint(bytes, decoder, depth) {
  try {
    return strict(decoder.decode(bytes), depth);
  } catch {
    throw new LintError(explain(bytes, depth));
  }
}

/** What sets headers apart, on their bytes. */
function plain(bytes) {
  if (bytes.length > MAX_HEADER) throw new LintError(`longer than ${MAX_HEADER} bytes`);
  let quoted = false;
  let number = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === 0x22) {
      quoted = !quoted;
      number = 0;
    } else if (byte === 0x5c || byte > 0x7e || byte < 0x20 || (byte === 0x20 && !quoted)) {
      throw new LintError(NOT_PLAIN);
    } else if (quoted) {
      continue;
    } else if (byte >= 0x30 && byte <= 0x39) {
      number = number * 10 + (byte - 0x30);
      if (number > Number.MAX_SAFE_INTEGER) throw new LintError(NOT_PLAIN);
    } else if (byte === 0x2d || byte === 0x2b || byte === 0x2e) {
      throw new LintError(NOT_PLAIN);
    } else {
      number = 0;
    }
  }
}

/**
 * The value of canonical `text`.
 * @param {string} text
 * @param {number} depth how deep it may nest
 * @returns {import('./json.js').Value}
 * @throws {Error} if it is anything but the canonical spelling of a value of the profile
 */
export function strict(text, depth) {
  const walk = new Strict(text);
  const value = walk.value(depth);
  if (walk.at !== text.length) throw REFUSED;
  return value;
}

class Strict {
  constructor(text) {
    this.text = text;
    this.at = 0;
    /** Whether no string needs a second look: most texts have no escape at all. */
    this.bare = !SPECIAL.test(text);
  }

  value(left) {
    const code = this.text.charCodeAt(this.at);
    if (code === 0x22) return this.string();
    if (code === 0x7b) return this.object(left - 1);
    if (code === 0x5b) return this.array(left - 1);
    if (code === 0x74) return this.word('true', true);
    if (code === 0x66) return this.word('false', false);
    return this.integer(code);
  }

  word(word, value) {
    if (!this.text.startsWith(word, this.at)) throw REFUSED;
    this.at += word.length;
    return value;
  }

  /** Members ascend by UTF-16 code units, which is how JavaScript compares strings; so none is there twice. */
  object(left) {
    if (left < 0) throw REFUSED;
    const { text } = this;
    const members = new Map();
    if (text.charCodeAt(++this.at) === 0x7d) {
      this.at += 1;
      return members;
    }
    let before;
    for (;;) {
      if (text.charCodeAt(this.at) !== 0x22) throw REFUSED;
      const name = this.string();
      if (before !== undefined && name <= before) throw REFUSED;
      before = name;
      if (text.charCodeAt(this.at++) !== 0x3a) throw REFUSED;
      members.set(name, this.value(left));
      const next = text.charCodeAt(this.at++);
      if (next === 0x7d) return members;
      if (next !== 0x2c) throw REFUSED;
    }
  }

  array(left) {
    if (left < 0) throw REFUSED;
    const { text } = this;
    const items = [];
    if (text.charCodeAt(++this.at) === 0x5d) {
      this.at += 1;
      return items;
    }
    for (;;) {
      items.push(this.value(left));
      const next = text.charCodeAt(this.at++);
      if (next === 0x5d) return items;
      if (next !== 0x2c) throw REFUSED;
    }
  }

  string() {
    const { text } = this;
    const from = ++this.at;
    if (this.bare) {
      const end = text.indexOf('"', from);
      if (end < 0) throw REFUSED;
      this.at = end + 1;
      return text.slice(from, end);
    }
    for (let at = from; ; at++) {
      const code = text.charCodeAt(at);
      if (code === 0x22) {
        this.at = at + 1;
        return text.slice(from, at);
      }
      if (code === 0x5c) return this.escaped(from, at);
      if (!(code >= 0x20)) throw REFUSED; // a raw control character, or the end
    }
  }

  /** A string with escapes: JSON.stringify writes those of RFC 8785 §3.2.2.2, so it has to give the same again. */
  escaped(from, at) {
    const { text } = this;
    for (; text.charCodeAt(at) !== 0x22; at++) {
      if (text.charCodeAt(at) === 0x5c) at += 1;
      if (at >= text.length) throw REFUSED;
    }
    const spelled = text.slice(from - 1, at + 1);
    const value = JSON.parse(spelled);
    // A lone surrogate would come back as it went: the source cannot hold one, so an escape made it.
    if (JSON.stringify(value) !== spelled || /\\ud[89a-f]/.test(spelled.replaceAll('\\\\', ''))) throw REFUSED;
    this.at = at + 1;
    return value;
  }

  integer(code) {
    const { text } = this;
    const from = this.at;
    const negative = code === 0x2d;
    let at = negative ? from + 1 : from;
    const first = text.charCodeAt(at);
    let value = 0;
    for (;;) {
      const digit = text.charCodeAt(at) - 0x30;
      if (!(digit >= 0 && digit <= 9)) break;
      value = value * 10 + digit;
      if (value > Number.MAX_SAFE_INTEGER) throw REFUSED;
      at += 1;
    }
    const digits = at - from - (negative ? 1 : 0);
    if (digits === 0 || (first === 0x30 && (digits > 1 || negative))) throw REFUSED;
    this.at = at;
    return negative ? -value : value;
  }
}

/** Which rule `bytes`, which `strict` refused, break. */
function explain(bytes, depth) {
  let value;
  try {
    value = parseJson(bytes);
  } catch (error) {
    if (error instanceof JsonError) return 'not JSON';
    throw error;
  }
  return profile(value, depth, depth) ?? TWIN;
}

/** What the profile has no spelling for, first in canonical order; `undefined` if nothing. */
function profile(value, left, depth) {
  if (value === null) return 'null is not allowed: leave the member out';
  if (typeof value === 'bigint' || value instanceof Inexact) return INTEGER;
  if (Array.isArray(value)) return within(value, left, depth);
  if (value instanceof Map) {
    const names = [...value.keys()].sort();
    return within(names.map((name) => value.get(name)), left, depth);
  }
  return undefined;
}

function within(values, left, depth) {
  if (left === 0) return `nested more deeply than ${depth} levels`;
  for (const value of values) {
    const fault = profile(value, left - 1, depth);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/**
 * The canonical spelling of a value of the profile, for those who make one (tests, the policy hash).
 * @param {import('./json.js').Value} value
 * @returns {string}
 */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value instanceof Map) {
    const names = [...value.keys()].sort();
    return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value.get(name))}`).join(',')}}`;
  }
  return JSON.stringify(value);
}
