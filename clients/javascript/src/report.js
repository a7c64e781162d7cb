// What an auditor reads: one verdict for each question (LEDGER.md §11), an exit code, a last line. Members and their order
// are those of docs/ledger.md, "The verdicts for programs"; the words are this verifier's own.

/** @typedef {'ok' | 'failed' | 'incomplete' | 'not_asked'} State */

/**
 * @typedef {object} Verdict
 * @property {string} name
 * @property {State} state
 * @property {boolean} required whether the bundle is not verified without it
 * @property {string} text
 * @property {number | bigint} [seq] the first bad entry, where one can be told
 */

/**
 * @typedef {object} Report
 * @property {string} schema
 * @property {string} log
 * @property {number} from
 * @property {number} to
 * @property {number} size
 * @property {number} [first_ts] milliseconds
 * @property {number} [last_ts] milliseconds
 * @property {Verdict[]} verdicts
 * @property {0 | 8 | 9} exit
 * @property {string} summary
 */

const SCHEMA = 'stint.verification/v1';
const ALWAYS = new Set(['bytes', 'chain', 'root', 'signature', 'complete']);
const WHEN_ASKED = new Set(['append', 'witnesses', 'fresh', 'credential']);

/** What is known about one question so far: the first fault, the first doubt. */
export class Check {
  /**
   * @param {string} text
   * @param {number | bigint} [seq]
   */
  fail(text, seq) {
    this.failed ??= { text, seq };
  }

  /**
   * @param {string} text
   * @param {number | bigint} [seq]
   */
  doubt(text, seq) {
    this.doubted ??= { text, seq };
  }

  get holds() {
    return this.failed === undefined;
  }

  /**
   * @param {string} name
   * @param {string} text what holds
   * @returns {Verdict}
   */
  verdict(name, text) {
    if (this.failed) return verdict(name, 'failed', this.failed.text, this.failed.seq);
    if (this.doubted) return verdict(name, 'incomplete', this.doubted.text, this.doubted.seq);
    return verdict(name, 'ok', text);
  }
}

/**
 * @param {string} name
 * @param {State} state
 * @param {string} text
 * @param {number | bigint} [seq]
 * @returns {Verdict}
 */
export function verdict(name, state, text, seq) {
  const answer = { name, state, required: false, text };
  return seq === undefined ? answer : { ...answer, seq };
}

/**
 * @param {{log: string, from: number, to: number, size: number}} manifest
 * @param {{firstTs?: number, lastTs?: number}} times
 * @param {Verdict[]} verdicts
 * @param {boolean} all whether every verdict is required
 * @returns {Report}
 */
export function report({ log, from, to, size }, { firstTs, lastTs }, verdicts, all) {
  for (const one of verdicts) {
    one.required = all || ALWAYS.has(one.name) || (WHEN_ASKED.has(one.name) && one.state !== 'not_asked');
  }
  const times = firstTs === undefined ? {} : { first_ts: firstTs, last_ts: lastTs };
  return { schema: SCHEMA, log, from, to, size, ...times, verdicts, ...conclude(verdicts) };
}

/**
 * What was handed over is no bundle, or not a whole one.
 * @param {string} fault
 * @returns {Report}
 */
export function unreadable(fault) {
  const verdicts = [{ ...verdict('bytes', 'failed', fault), required: true }];
  return { schema: SCHEMA, log: '', from: 0, to: 0, size: 0, verdicts, ...conclude(verdicts) };
}

/** 8 if any failed, else 9 if a required one cannot be told, else 0. */
function conclude(verdicts) {
  const failed = verdicts.find((one) => one.state === 'failed');
  if (failed) return { exit: 8, summary: `failed    ${failed.text}` };
  const open = verdicts.filter((one) => one.state === 'incomplete');
  const required = open.find((one) => one.required);
  if (required) return { exit: 9, summary: `undecided ${required.text}` };
  if (open.length === 0) return { exit: 0, summary: 'verified' };
  return { exit: 0, summary: `verified  ${open.length === 1 ? '1 item' : `${open.length} items`} to look at` };
}

/**
 * The report for programs. A seq beyond 2^53 - 1 is only ever a claim, but it is printed as it was found.
 * @param {Report} told
 */
export function inJson(told) {
  const mark = (_, value) => (typeof value === 'bigint' ? `bigint:${value}` : value);
  return JSON.stringify(told, mark).replace(/"seq":"bigint:([0-9]+)"/g, '"seq":$1');
}

/**
 * `2026-07-01 14:36:10 UTC`.
 * @param {number} ms since 1970 UTC
 */
export function moment(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return `${ms} ms after 1970`;
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/**
 * The report for a terminal. Text of a bundle steers none: its control characters are escaped.
 * @param {Report} told
 */
export function inWords(told) {
  const lines = [];
  if (told.log !== '') {
    const count = told.to - told.from;
    const range = count > 0 ? `entries ${told.from} to ${told.to - 1} (${count})` : 'no entries';
    const days = told.first_ts === undefined ? '' : `, ${day(told.first_ts)} to ${day(told.last_ts)}`;
    lines.push(`bundle    log ${told.log}, ${range}${days}`);
  }
  for (const { state, name, text } of told.verdicts) {
    lines.push(`${state.replace('_', ' ').padEnd(9)} ${name.padEnd(10)} ${text}`);
  }
  lines.push(told.summary);
  const escape = (character) => `\\u{${character.charCodeAt(0).toString(16)}}`;
  return lines.map((line) => line.replace(/[\u0000-\u001f\u007f-\u009f]/g, escape)).join('\n');
}

function day(ms) {
  return moment(ms).slice(0, 10);
}
