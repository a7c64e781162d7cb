// The registry of kinds: what an entry may say in its header (LEDGER.md §5).

import { isDigest } from './base64.js';

/** @typedef {import('./json.js').Value} Value */
/** @typedef {(value: Value) => boolean} Type */

const text = (value) => typeof value === 'string';
const count = (value) => typeof value === 'number' && value >= 0;
/** A false flag is left out, so one that is there is true. */
const flag = (value) => value === true;
const listOf = (type) => (value) => Array.isArray(value) && value.every(type);
const word = (...words) => (value) => typeof value === 'string' && words.includes(value);
const range = (value) => Array.isArray(value) && value.length === 2 && value.every(count);
/** An object of exactly these members. */
const object = (members) => {
  const table = shape(members);
  return (value) => value instanceof Map && fits(table, value);
};

const CREDENTIAL = word('x509', 'jwt');
const SCOPE = word('all', 'issuer', 'action');
const KEY_USE = word('log', 'ca', 'jwt', 'subject', 'passkey', 'issuer', 'federation');
const PRIOR = object({ log: text, root: isDigest, size: count });
const KEY = { key: isDigest, 'not_after?': count, use: KEY_USE, 'vkey?': text };

/** Whether a kind carries a member of the header. */
export const MUST = 'must';
const MAY = 'may';
export const NEVER = 'never';

/** The members of the header that depend on the kind, in the order a fault in them is named. */
export const PEOPLE = ['subj', 'by', 'behalf', 'pol'];

/**
 * @typedef {object} Kind
 * @property {string} prefix of its id
 * @property {string[]} needs of `subj by behalf pol`: must, may or never
 * @property {Map<string, {type: Type, optional: boolean}>[]} shapes `what` has one of these
 * @property {[string, string][]} ids members of `what` that are ids, each with its prefix, in the order they are checked
 */

const TASK = ['task', 'task_'];
const PARENT = ['parent', 'task_'];
const REQUEST = ['request', 'req_'];
const GRANT = ['grant', 'gr_'];

/** @type {Map<string, Kind>} */
export const KINDS = new Map([
  kind('genesis', 'ent_', '- - - -', {
    epoch: count, hash: text, nonce: isDigest, 'prior?': PRIOR, vkey: text,
  }),
  kind('granted', 'gr_', 'subj - behalf? pol', {
    cred: CREDENTIAL, exp: count, 'first?': flag, 'opens?': flag, 'parent?': text, 'renews?': text,
    'request?': text, task: text, tbs: isDigest, 'votes?': count,
  }, [TASK, PARENT, REQUEST, ['renews', 'gr_']]),
  kind('denied', 'dec_', 'subj - behalf? pol', {
    'first?': flag, 'request?': text, 'task?': text,
    why: word('policy', 'policy_error', 'human', 'replayed', 'task_over', 'frozen', 'disabled', 'delegation',
      'role', 'key', 'form', 'limit', 'approval_needed'),
  }, [TASK, REQUEST]),
  kind('requested', 'req_', 'subj - behalf? pol', {
    expires: count, 'first?': flag, 'opens?': flag, 'parent?': text, quorum: listOf(count), task: text,
  }, [TASK, PARENT]),
  kind('voted', 'vote_', 'subj by - pol', {
    'closes?': flag, request: text, until: count, vote: word('yes', 'no'),
  }, [REQUEST]),
  kind('request_closed', 'ent_', 'subj by? - -', {
    request: text, until: count, why: word('cancelled', 'expired', 'void'),
  }, [REQUEST]),
  kind('task_opened', 'task_', 'subj - behalf? -', { deadline: count, 'parent?': text, task: text }, [TASK, PARENT]),
  kind('task_closed', 'ent_', 'subj by? - -', {
    revokes: count, task: text, until: count, why: word('completed', 'cancelled', 'ended'),
  }, [TASK]),
  kind('revoked', 'ent_', 'subj by? - -', {
    cred: CREDENTIAL, grant: text, of: count, until: count, why: text,
  }, [GRANT]),
  kind('sign_failed', 'ent_', 'subj - - -', {
    grant: text, of: count, why: word('signer', 'timeout', 'mismatch', 'interrupted'),
  }, [GRANT]),
  kind('caller_disabled', 'ent_', 'subj by - -', { revokes: count }),
  kind('frozen', 'ent_', '- by - -', { revokes: count, scope: SCOPE }),
  kind('unfrozen', 'ent_', '- by - -', { of: count, scope: SCOPE }),
  kind('policy_loaded', 'ent_', '- by? - pol', { 'ok?': flag, 'tried?': isDigest, 'was?': isDigest }),
  kind('config_loaded', 'ent_', '- by? - -', { cause: text, config: isDigest, software: text, 'was?': isDigest }),
  kind('key_added', 'ent_', 'subj? by? - -', KEY),
  kind('key_retired', 'ent_', 'subj? by? - -', { ...KEY, of: count, why: text }),
  kind('login', 'ent_', 'subj - - -', { 'roles?': listOf(text), via: word('console', 'cli') }),
  kind('admin', 'ent_', '- by? - -', {
    'n?': count, 'of?': count,
    op: word('body_read', 'exported', 'caller_enabled', 'role_changed', 'issuer_degraded', 'issuer_back', 'clock',
      'pruned'),
  }),
  kind('rollup', 'ent_', '- - - -', { n: count, since: count, until: count }),
  kind('erased', 'ent_', '- by? - -', {
    basis: word('request', 'retention', 'order'), n: count, ranges: listOf(range),
  }),
  kind('anchor', 'ent_', '- - - -', {
    cosigs: count, 'latest?': count, note: isDigest, root: isDigest, size: count, standing: isDigest,
  }),
  either(
    kind('recovery', 'ent_', '- - - -', { form: word('begin'), prior: PRIOR, seen: count, why: text }),
    { form: word('entry'), old: count },
  ),
  kind('epoch', 'ent_', '- by - -', { next: object({ log: text, vkey: text }), why: text }),
]);

function kind(name, prefix, people, members, ids = []) {
  const needs = people.split(' ').map((who) => (who === '-' ? NEVER : who.endsWith('?') ? MAY : MUST));
  return [name, { prefix, needs, shapes: [shape(members)], ids }];
}

function either([name, kind], members) {
  kind.shapes.push(shape(members));
  return [name, kind];
}

function shape(members) {
  return new Map(Object.entries(members).map(([name, type]) => {
    const optional = name.endsWith('?');
    return [optional ? name.slice(0, -1) : name, { type, optional }];
  }));
}

/** Whether `value` has all the members `table` asks for, each of its type, and no other. */
function fits(table, value) {
  let found = 0;
  for (const [name, { type, optional }] of table) {
    const member = value.get(name);
    if (member === undefined ? !optional : !type(member)) return false;
    if (member !== undefined) found += 1;
  }
  return found === value.size;
}

/**
 * Whether `what` has the form of `kind`.
 * @param {Kind} kind
 * @param {Map<string, Value>} what
 */
export function hasForm(kind, what) {
  return kind.shapes.some((table) => fits(table, what));
}

/** Kinds whose body opens with a decision block, so that its caller opens `subj`. */
export const DECISIONS = new Set(['granted', 'denied', 'requested']);
