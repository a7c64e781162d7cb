// An entry: a header with a closed top level (LEDGER.md §3), and a salted body (§4).

import { fromBase64Url, isDigest } from './base64.js';
import { lintBody, lintHeader } from './canonical.js';
import { KINDS, MUST, NEVER, PEOPLE, hasForm } from './kinds.js';

/** @typedef {import('./json.js').Value} Value */

/**
 * A header whose form has been checked. Digests stay in their text.
 * @typedef {object} Header
 * @property {number} seq
 * @property {string} log
 * @property {number} ts milliseconds since 1970 UTC
 * @property {string} kind
 * @property {string} id
 * @property {string} body
 * @property {string | undefined} subj
 * @property {string | undefined} by
 * @property {string | undefined} behalf
 * @property {string | undefined} pol
 * @property {Map<string, Value>} what
 * @property {boolean} known whether `kind` is one of this version's
 */

/** Bytes that are no header or body; the message says why. */
export class FormError extends Error {}

/** A header of a version that is not known here: what can be checked of it was. */
export class VersionError extends FormError {}

const MEMBERS = new Map(Object.entries({
  body: isDigest,
  id: isText,
  kind: isText,
  log: isText,
  node: isText,
  prev: isDigest,
  seq: isCount,
  ts: isCount,
  v: isCount,
  what: (value) => value instanceof Map,
}));
const OPTIONAL = new Set(PEOPLE);

const NODE = /^[a-z0-9-]{1,16}$/;
/** 26 digits of Crockford's base32 have two bits more than 16 bytes: the first is at most 7. */
const ID = /^[0-7][0-9a-hjkmnp-tv-z]{25}$/;
/** 22 characters have four bits more than 16 bytes, which `fromBase64Url` wants to be zero. */
const SALT = 16;
const MAX_RANGES = 100;

function isText(value) {
  return typeof value === 'string';
}

function isCount(value) {
  return typeof value === 'number' && value >= 0;
}

/**
 * @param {Uint8Array} bytes
 * @returns {Header}
 * @throws {import('./canonical.js').LintError | FormError}
 */
export function parseHeader(bytes) {
  return headerOf(lintHeader(bytes));
}

/**
 * Reads a header from its linted value.
 * @param {Value} value
 * @returns {Header}
 * @throws {FormError}
 */
export function headerOf(value) {
  if (!(value instanceof Map)) throw new FormError('not of its form');
  const version = value.get('v');
  if (typeof version === 'number' && version !== 1) {
    throw new VersionError(`version ${version} of the header is not known`);
  }
  closed(value);
  const name = value.get('kind');
  const what = value.get('what');
  const kind = KINDS.get(name);
  if (kind !== undefined && !hasForm(kind, what)) throw new FormError('not of its form');
  const node = value.get('node');
  if (!NODE.test(node)) throw new FormError(`\`${node}\` is not a replica's name, [a-z0-9-]{1,16}`);
  const seq = value.get('seq');
  if ((name === 'genesis') !== (seq === 0)) throw new FormError('`genesis` stands at seq 0 and only there');
  if (kind !== undefined) ofKind(value, name, kind, what, seq);
  return {
    seq,
    log: value.get('log'),
    ts: value.get('ts'),
    kind: name,
    id: value.get('id'),
    body: value.get('body'),
    subj: value.get('subj'),
    by: value.get('by'),
    behalf: value.get('behalf'),
    pol: value.get('pol'),
    what,
    known: kind !== undefined,
  };
}

/** The top level: every listed member, of its type, and no other. */
function closed(value) {
  let found = 0;
  for (const [name, type] of MEMBERS) {
    const member = value.get(name);
    if (member === undefined || !type(member)) throw new FormError('not of its form');
    found += 1;
  }
  for (const name of OPTIONAL) {
    const member = value.get(name);
    if (member === undefined) continue;
    if (!isDigest(member)) throw new FormError('not of its form');
    found += 1;
  }
  if (found !== value.size) throw new FormError('not of its form');
}

function ofKind(value, name, kind, what, seq) {
  checkId(kind.prefix, value.get('id'));
  for (const [member, prefix] of kind.ids) {
    const id = what.get(member);
    if (id !== undefined) checkId(prefix, id);
  }
  for (let i = 0; i < PEOPLE.length; i++) {
    const member = PEOPLE[i];
    const there = value.has(member);
    if (kind.needs[i] === MUST && !there) throw new FormError(`a \`${name}\` entry carries \`${member}\``);
    if (kind.needs[i] === NEVER && there) throw new FormError(`a \`${name}\` entry does not carry \`${member}\``);
  }
  if (name === 'erased') checkRanges(what, seq);
}

function checkId(prefix, id) {
  if (!id.startsWith(prefix) || !ID.test(id.slice(prefix.length))) {
    throw new FormError(`\`${id}\` is not \`${prefix}\` and 26 characters of 0-9 and a-z without i, l, o, u`);
  }
}

/** Only what is there can be erased: a range over entries to come would excuse all that is withheld later. */
function checkRanges(what, seq) {
  const ranges = what.get('ranges');
  let sum = 0;
  let last = -1;
  let good = ranges.length >= 1 && ranges.length <= MAX_RANGES;
  for (const [from, to] of ranges) {
    good = good && from > last && to > from && to <= seq;
    sum += to - from;
    last = to;
  }
  if (!good || sum !== what.get('n')) {
    throw new FormError('erased ranges are not ascending, of `n` entries before this one, in 1 to 100 parts');
  }
}

/**
 * The `what` of a body: the lint, then a salt of 16 bytes and an object, nothing else.
 * @param {Uint8Array} bytes
 * @returns {Map<string, Value>}
 * @throws {import('./canonical.js').LintError | FormError}
 */
export function parseBody(bytes) {
  const value = lintBody(bytes);
  const what = value instanceof Map ? value.get('what') : undefined;
  if (!(what instanceof Map) || value.size !== 2 || typeof value.get('salt') !== 'string') {
    throw new FormError('not of its form');
  }
  if (fromBase64Url(value.get('salt'))?.length !== SALT) throw new FormError('the salt is not 16 bytes');
  return what;
}
