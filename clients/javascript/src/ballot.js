// One vote: who cast it, over what, and whether a passkey of that person signed it.

import { digest, fromBase64Url, toBase64Url } from './base64.js';
import { pseudonym } from './identities.js';
import { NoCrypto, PasskeyError, assertionOf, brief, challengeOf, checkAssertion, hostOf } from './passkey.js';

/** What is wrong with an entry, as the rest of a sentence. */
export class Lie extends Error {}

/** What cannot be told. */
export class Doubt extends Error {}

/** How a member of a body was found: not at all, or in no form of its own. */
export const WITHHELD = Symbol('withheld');
export const MALFORMED = Symbol('malformed');

/** Bytes of a nonce. */
const NONCE = 32;

/**
 * Checks a vote.
 * @param {import('./entry.js').Header} header
 * @param {Map<string, import('./json.js').Value> | undefined} body
 * @param {object} request what was asked, as passkeys.js keeps it
 * @param {{log: string, from: number, full: boolean, keys: Map<number, object>}} known
 * @returns {Promise<string | undefined>} what cannot be told, though its signature holds
 * @throws {Lie | Doubt}
 */
export async function checkBallot(header, body, request, known) {
  const { by, subj, what } = header;
  if (subj !== request.subj) throw new Lie('is a vote on what somebody else asked');
  if (by === request.subj || by === request.behalf || request.own.includes(by)) {
    throw new Lie('is a vote of somebody who asked');
  }
  if (body === undefined) throw new Doubt('its body is not here');
  const at = body.get('key_seq');
  const enrolled = passkey(at, header, known);
  const { facts, assertion, nonce, approver } = signed(body);
  aboutThis(facts, body, header, known.log);
  if (facts.get('request') !== what.get('request')) throw new Lie('is signed over another request');
  if (opened(approver) !== by) throw new Lie('does not open its approver');
  if (request.own.includes(brief(facts.get('approver')))) throw new Lie('is a vote of who started the task');
  if (request.digest === MALFORMED) throw new Lie('is a vote on an ask without a digest');
  if (request.digest !== WITHHELD && facts.get('digest') !== request.digest) throw new Lie('is signed over another ask');
  await holds(facts, nonce, assertion, enrolled);
  if (request.digest === WITHHELD) return `what was asked, in the body of ${request.seq}`;
  return at < known.from ? `whether its passkey was retired before entry ${known.from}` : undefined;
}

/** The passkey that entry `at` added, if it counts for the one who votes. */
function passkey(at, { seq, by }, { from, full, keys }) {
  if (typeof at !== 'number' || !(at >= 0 && at < seq)) throw new Lie('names no passkey');
  const added = keys.get(at);
  if (added === undefined) {
    if (at < from || full) throw new Doubt(`its passkey, entry ${at}, is not here`);
    throw new Lie(`is signed by no passkey: entry ${at} adds none`);
  }
  if (added.retired) throw new Lie(`is signed by a retired passkey, that of entry ${at}`);
  if (added.subj !== by) throw new Lie('is signed by somebody else’s passkey');
  if (added.enrolled === MALFORMED) throw new Lie(`is signed by a passkey that entry ${at} does not show`);
  if (added.enrolled === WITHHELD) throw new Doubt(`its passkey, in the body of ${at}, is not here`);
  return added.enrolled;
}

function signed(body) {
  const nonce = typeof body.get('nonce') === 'string' ? fromBase64Url(body.get('nonce')) : null;
  const facts = body.get('facts');
  const assertion = assertionOf(body.get('assertion'));
  const approver = body.get('approver');
  if (nonce?.length !== NONCE || !(facts instanceof Map) || assertion === null || approver === undefined) {
    throw new Lie('is a vote without nonce, facts and assertion');
  }
  return { nonce, facts, assertion, approver };
}

/** The facts are of this log, this policy set and this vote, show something, and are the approver's own. */
function aboutThis(facts, body, { pol, what }, log) {
  const approver = body.get('approver');
  const ids = approver instanceof Map ? [approver.get('id'), approver.get('spiffe')] : [];
  const [lasts, shown] = [facts.get('lasts_s'), facts.get('shown')];
  const good = {
    v: facts.get('v') === 1,
    log: facts.get('log') === log,
    pol: facts.get('pol') === pol,
    vote: facts.get('vote') === what.get('vote'),
    lasts_s: (typeof lasts === 'number' && lasts > 0) === (what.get('vote') === 'yes'),
    shown: Array.isArray(shown) && shown.length > 0,
    approver: typeof facts.get('approver') === 'string' && ids.includes(facts.get('approver')),
    note: !body.has('note') || same(body.get('note'), facts.get('note')),
  };
  const other = Object.keys(good).find((name) => !good[name]);
  if (other !== undefined) throw new Lie(`is signed over facts with another \`${other}\``);
}

/** Whether two members are the same text; a note is nothing else. */
function same(one, other) {
  return typeof one === 'string' && one === other;
}

/** The passkey signed these facts, on a page of the origin they name. */
async function holds(facts, nonce, assertion, { key, credential, rp }) {
  const origin = facts.get('origin');
  const host = typeof origin === 'string' ? hostOf(origin) : undefined;
  if (host === undefined) throw new Lie('is signed over facts with another `origin`');
  if (brief(host) !== rp) throw new Lie('is signed for another host than its passkey is of');
  if (brief(toBase64Url(assertion.credential)) !== credential) throw new Lie('is signed by another credential than its passkey');
  try {
    await checkAssertion(assertion, key, { rp: host, origin, challenge: challengeOf(nonce, facts) });
  } catch (error) {
    if (error instanceof PasskeyError) throw new Lie(`is not signed over its facts: ${error.message}`);
    if (error instanceof NoCrypto) throw new Doubt(error.message);
    throw error;
  }
}

/**
 * The pseudonym that an `{id, open, …}` opens; `undefined` if it is no opening.
 * @param {import('./json.js').Value | undefined} who
 */
export function opened(who) {
  if (!(who instanceof Map) || typeof who.get('id') !== 'string') return undefined;
  const open = digest(who.get('open'));
  return open === null ? undefined : toBase64Url(pseudonym(open, who.get('id')));
}
