// A JSON reader (RFC 8259) that loses nothing: objects are Maps, integers are told from other numbers, and which rule a
// text breaks can be said. JSON.parse would round 2^53+1, take 1.0 for 1 and let a lone surrogate pass.
//
// It accepts twins (spaces, escapes, duplicate members: the last counts); canonical.js is what refuses those.

/** Deeper texts are refused, whatever they hold: nothing of ours comes near. */
const MAX_NESTING = 127;

/** A number with a fraction or an exponent, minus zero, or an integer beyond 64 bits. */
export class Inexact {
  /** @param {string} text as it stands in the source */
  constructor(text) {
    this.text = text;
  }
}

/** @typedef {null | boolean | number | bigint | string | Inexact | Value[] | Map<string, Value>} Value */

/** A text that is not JSON. */
export class JsonError extends Error {}

/**
 * @param {Uint8Array} bytes UTF-8, no byte order mark
 * @returns {Value} integers as numbers within ±(2^53 - 1), as bigints up to 64 bits, else `Inexact`
 * @throws {JsonError}
 */
export function parseJson(bytes) {
  return parseWithTwins(bytes).value;
}

/**
 * As `parseJson`, and which members of which objects were there more than once.
 * @param {Uint8Array} bytes
 * @returns {{value: Value, twins: Map<Map<string, Value>, string[]>}}
 * @throws {JsonError}
 */
export function parseWithTwins(bytes) {
  const reader = new Reader(utf8(bytes));
  const value = reader.value(0);
  reader.space();
  if (reader.at !== reader.text.length) throw new JsonError('characters behind the value');
  return { value, twins: reader.twins };
}

/**
 * Strict UTF-8.
 * @param {Uint8Array} bytes
 * @throws {JsonError}
 */
export function utf8(bytes) {
  try {
    return STRICT.decode(bytes);
  } catch {
    throw new JsonError('not UTF-8');
  }
}

const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const SHORT = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.twins = new Map();
  }

  space() {
    const { text } = this;
    for (;;) {
      const c = text.charCodeAt(this.at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
      this.at += 1;
    }
  }

  /** The value at hand, in `depth` arrays and objects. */
  value(depth) {
    this.space();
    switch (this.text[this.at]) {
      case '{':
        return this.object(depth + 1);
      case '[':
        return this.array(depth + 1);
      case '"':
        return this.string();
      case 't':
        return this.word('true', true);
      case 'f':
        return this.word('false', false);
      case 'n':
        return this.word('null', null);
      default:
        return this.number();
    }
  }

  word(word, value) {
    if (!this.text.startsWith(word, this.at)) throw new JsonError('no value');
    this.at += word.length;
    return value;
  }

  take(character) {
    this.space();
    if (this.text[this.at] !== character) return false;
    this.at += 1;
    return true;
  }

  expect(character) {
    if (!this.take(character)) throw new JsonError(`no ${character}`);
  }

  object(depth) {
    if (depth > MAX_NESTING) throw new JsonError('nested too deeply');
    const members = new Map();
    this.at += 1;
    if (this.take('}')) return members;
    do {
      this.space();
      if (this.text[this.at] !== '"') throw new JsonError('no member');
      const name = this.string();
      this.expect(':');
      if (members.has(name)) this.twins.set(members, [...(this.twins.get(members) ?? []), name]);
      members.set(name, this.value(depth));
    } while (this.take(','));
    this.expect('}');
    return members;
  }

  array(depth) {
    if (depth > MAX_NESTING) throw new JsonError('nested too deeply');
    const items = [];
    this.at += 1;
    if (this.take(']')) return items;
    do items.push(this.value(depth));
    while (this.take(','));
    this.expect(']');
    return items;
  }

  string() {
    const { text } = this;
    let out = '';
    let from = ++this.at;
    for (;;) {
      const code = text.charCodeAt(this.at);
      if (code === 0x22) {
        out += text.slice(from, this.at);
        this.at += 1;
        return out;
      }
      if (Number.isNaN(code) || code < 0x20) throw new JsonError('a string without an end');
      if (code === 0x5c) {
        out += text.slice(from, this.at) + this.escape();
        from = this.at;
      } else {
        this.at += 1;
      }
    }
  }

  escape() {
    const letter = this.text[this.at + 1];
    if (letter === 'u') return this.escapedUnit();
    const short = Object.hasOwn(SHORT, letter ?? '') ? SHORT[letter] : undefined;
    if (short === undefined) throw new JsonError('an unknown escape');
    this.at += 2;
    return short;
  }

  /** One code unit, or two that are a pair; half of one is no Unicode scalar value. */
  escapedUnit() {
    const first = this.unit();
    if (first < 0xd800 || first > 0xdfff) return String.fromCharCode(first);
    if (first > 0xdbff || this.text[this.at] !== '\\' || this.text[this.at + 1] !== 'u') {
      throw new JsonError('a lone surrogate');
    }
    const second = this.unit();
    if (second < 0xdc00 || second > 0xdfff) throw new JsonError('a lone surrogate');
    return String.fromCharCode(first, second);
  }

  unit() {
    const digits = this.text.slice(this.at + 2, this.at + 6);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw new JsonError('an unknown escape');
    this.at += 6;
    return parseInt(digits, 16);
  }

  number() {
    NUMBER.lastIndex = this.at;
    const found = NUMBER.exec(this.text);
    if (found === null) throw new JsonError('no value');
    const [digits, fraction, exponent] = found;
    this.at += digits.length;
    // A second digit behind a leading zero, and a dot or an exponent without digits, are no number at all.
    if (/[0-9.eE]/.test(this.text[this.at] ?? '')) throw new JsonError('not a number');
    if (fraction !== undefined || exponent !== undefined || digits === '-0') {
      if (!Number.isFinite(Number(digits))) throw new JsonError('a number out of range');
      return new Inexact(digits);
    }
    return integer(digits);
  }
}

function integer(digits) {
  const near = Number(digits);
  if (Number.isSafeInteger(near)) return near;
  // Far beyond 64 bits there is no need to make the integer first.
  if (digits.length > 21) {
    if (!Number.isFinite(near)) throw new JsonError('a number out of range');
    return new Inexact(digits);
  }
  const exact = BigInt(digits);
  return exact >= -(2n ** 63n) && exact < 2n ** 64n ? exact : new Inexact(digits);
}

/**
 * A non-negative integer of up to 64 bits, or `undefined`.
 * @param {Value | undefined} value
 * @returns {number | bigint | undefined}
 */
export function unsigned(value) {
  return (typeof value === 'number' || typeof value === 'bigint') && value >= 0 ? value : undefined;
}
