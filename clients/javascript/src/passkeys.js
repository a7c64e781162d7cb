// `passkeys`: what people were asked, what they signed, and what rests on it (LEDGER.md §11), over entries in seq order.
//
// A range that begins later than the log hides what was before it. What came in from there by receipt is checked like the
// rest, but that nothing else was there (a *no*, the end of a passkey) cannot be told, and the verdict says so.

import { isDigest } from './base64.js';
import { Doubt, Lie, MALFORMED, WITHHELD, checkBallot, opened } from './ballot.js';
import { brief, publicKey } from './passkey.js';
import { Check } from './report.js';
import { MOST_SEATS, areFilled, seatCount, seatsOf } from './seats.js';

/** Most passkeys and most requests that are held at once. */
const MAX_HELD = 1 << 15;
/** Most votes on one request, and of all. */
const MAX_VOTES = 4 * MOST_SEATS;
const MAX_ALL_VOTES = 1 << 17;
/** Most people of one ask who may not vote on it. */
const MAX_OWN = 16;

const KINDS = new Set(['key_added', 'key_retired', 'request_closed', 'requested', 'voted', 'granted']);

/**
 * Whether a header says anything about requests and passkeys.
 * @param {import('./entry.js').Header} header
 */
export function concernsPeople({ kind, known, what }) {
  if (!known || !KINDS.has(kind)) return false;
  if (kind === 'granted') return what.has('request');
  return kind === 'key_added' || kind === 'key_retired' ? what.get('use') === 'passkey' : true;
}

/** What people said up to a place in the log. */
export class Passkeys {
  /**
   * @param {string} log
   * @param {number} from the first seq of the range
   */
  constructor(log, from) {
    this.log = log;
    this.from = from;
    this.check = new Check();
    /** The first of what cannot be told, and why. */
    this.open = undefined;
    this.keys = new Map();
    this.requests = new Map();
    this.held = 0;
    this.full = false;
    this.votes = 0;
    this.signed = 0;
    this.grants = 0;
  }

  /**
   * Takes in one entry that `concernsPeople`.
   * @param {import('./entry.js').Header} header
   * @param {Map<string, import('./json.js').Value> | undefined} body its `what`, if it is here and the one committed to
   */
  async follow(header, body) {
    const { what } = header;
    switch (header.kind) {
      case 'key_added':
        this.added(header, body);
        break;
      case 'key_retired': {
        const key = this.keys.get(what.get('of'));
        if (key) key.retired = true;
        break;
      }
      case 'requested':
        this.requested(header, body);
        break;
      case 'request_closed': {
        const request = this.requests.get(what.get('request'));
        if (request) request.closed = true;
        break;
      }
      case 'voted':
        await this.voted(header, body);
        break;
      default:
        this.grants += 1;
        this.trying(header.seq, () => this.granted(header, body));
    }
  }

  trying(seq, check) {
    try {
      check();
    } catch (error) {
      this.fault(seq, error);
    }
  }

  fault(seq, error) {
    if (error instanceof Lie) this.check.fail(`entry ${seq} ${error.message}`, seq);
    else if (error instanceof Doubt) this.open ??= { seq, why: error.message };
    else throw error;
  }

  added({ seq, subj, what }, body) {
    if (this.keys.size >= MAX_HELD) {
      this.full = true;
      return;
    }
    const enrolled = known(body, () => {
      const key = publicKey(body.get('public'));
      const [credential, rp] = [body.get('credential'), body.get('rp')].map(briefly);
      return key?.thumbprint === what.get('key') && credential !== null && rp !== null ? { key, credential, rp } : null;
    });
    this.keys.set(seq, { subj, retired: false, enrolled });
  }

  requested({ seq, id, subj, behalf, what }, body) {
    if (this.requests.has(id)) {
      this.check.fail(`entry ${seq} parks a request that was parked before`, seq);
      return;
    }
    if (this.requests.size >= MAX_HELD) {
      this.full = true;
      return;
    }
    const own = body === undefined ? [] : ownOf(body);
    if (own.length > MAX_OWN) this.full = true;
    this.requests.set(id, {
      seq,
      subj,
      behalf,
      own: own.slice(0, MAX_OWN),
      most: Math.max(0, ...what.get('quorum')),
      digest: known(body, () => hash(body.get('digest'))),
      seats: known(body, () => seatsOf(body.get('needs'))),
      closed: false,
      votes: [],
    });
  }

  async voted(header, body) {
    this.votes += 1;
    const { seq, ts, by, what } = header;
    const id = what.get('request');
    try {
      const unknown = await checkBallot(header, body, this.find(id), this);
      this.signed += 1;
      if (unknown !== undefined) this.fault(seq, new Doubt(unknown));
    } catch (error) {
      this.fault(seq, error);
    }
    const request = this.requests.get(id);
    if (request === undefined) return;
    if (request.votes.length >= MAX_VOTES || this.held >= MAX_ALL_VOTES) {
      this.full = true;
      return;
    }
    this.held += 1;
    const said = request.seats instanceof Map && body !== undefined ? saidIn(body, request.seats) : undefined;
    request.votes.push({ seq, ts, by, vote: what.get('vote'), said });
  }

  /** A grant under a request: enough of those who may said yes, nobody no, and for as long. */
  granted({ subj, behalf, what }, body) {
    const request = this.find(what.get('request'));
    if (subj !== request.subj || behalf !== request.behalf) {
      throw new Lie('is a grant to somebody else than who asked people');
    }
    if (request.closed) throw new Lie('is a grant under a request that was closed before');
    const no = request.votes.find((cast) => cast.vote === 'no');
    if (no) throw new Lie(`is a grant in spite of the no of entry ${no.seq}`);
    const voters = this.voters(request, body, what.get('votes'));
    const { seats } = request;
    if (seats === MALFORMED) throw new Lie('is a grant under a request that says of nobody’s votes');
    const needed = seats === WITHHELD ? request.most : seatCount(seats);
    if (voters.length < needed) throw new Lie(`is a grant on ${voters.length} votes where ${needed} are needed`);
    if (seats === WITHHELD) throw new Doubt(`what entry ${request.seq} needs is not here`);
    if (voters.some(({ said }) => said === undefined)) throw new Doubt('the bodies of its votes are not all here');
    const last = Math.max(0, ...voters.map(({ ts }) => ts));
    const lasts = voters.map(({ said }) => said.lasts).sort((a, b) => b - a);
    // So many sit, and it lasts as long as the shortest of them.
    if (what.get('exp') > last + lasts[needed - 1] * 1_000) throw new Lie('is a grant of more time than its votes give');
    if (!areFilled(seats, voters.map(({ said }) => said.groups))) {
      throw new Doubt('whether its voters sit for the groups asked is said by the policy set’s entities, not by their logins');
    }
    if (request.seq < this.from) throw new Doubt(`whether somebody said no before entry ${this.from}`);
  }

  /** The request, if it was parked in sight. */
  find(id) {
    const request = this.requests.get(id);
    if (request !== undefined) return request;
    if (this.from === 0 && !this.full) throw new Lie('names a request that was never parked');
    throw new Doubt('its request is not here');
  }

  /** Who said yes, each person once, by the first vote: those of the votes it lists, or of all. */
  voters(request, body, count) {
    let casts = request.votes;
    if (body !== undefined) {
      const list = body.get('votes');
      if (!Array.isArray(list)) throw new Lie('is a grant that lists no votes');
      if (count !== list.length) throw new Lie('is a grant that lists another number of votes than it counts');
      casts = list.map((seq) => this.cast(request, seq));
    }
    const people = new Map();
    for (const cast of [...casts].sort((a, b) => a.seq - b.seq)) if (!people.has(cast.by)) people.set(cast.by, cast);
    return [...people.values()];
  }

  cast(request, seq) {
    const found = request.votes.find((cast) => cast.seq === seq);
    if (found) return found;
    if ((typeof seq === 'number' && seq >= 0 && seq < this.from) || this.full) throw new Doubt('a vote it lists is not here');
    throw new Lie('is a grant on a vote that its request does not have');
  }

  verdict() {
    const { open, votes, signed, grants } = this;
    const check = new Check();
    if (this.check.failed) check.fail(this.check.failed.text, this.check.failed.seq);
    const text = `${signed} of ${votes} votes are signed over their facts`;
    if (open) check.doubt(`${text}; entry ${open.seq}: ${open.why}`, open.seq);
    if (this.full) check.doubt('more passkeys, requests and votes than can be told apart');
    return check.verdict('passkeys', votes + grants === 0 ? 'no grant in the range rests on votes' : text);
  }
}

function known(body, read) {
  return body === undefined ? WITHHELD : (read() ?? MALFORMED);
}

function briefly(text) {
  return typeof text === 'string' ? brief(text) : null;
}

function hash(text) {
  return isDigest(text) ? text : null;
}

/** Those behind the ask: the chain of whom it acts for, and the initiator of its task. */
function ownOf(body) {
  const chain = Array.isArray(body.get('chain')) ? body.get('chain').map(opened) : [];
  let initiator = body.get('query');
  for (const name of ['context', 'task', 'initiator', '__entity', 'id']) {
    initiator = initiator instanceof Map ? initiator.get(name) : undefined;
  }
  return [...chain, typeof initiator === 'string' ? brief(initiator) : undefined].filter((one) => one !== undefined);
}

/** Which seats a vote can fill, and how long it lasts; `undefined` if the vote does not say. */
function saidIn(body, seats) {
  const [approver, facts] = [body.get('approver'), body.get('facts')];
  if (approver === undefined || facts === undefined) return undefined;
  const groups = approver instanceof Map && Array.isArray(approver.get('groups')) ? approver.get('groups') : [];
  const lasts = facts instanceof Map ? facts.get('lasts_s') : undefined;
  const named = groups.filter((group) => typeof group === 'string').map(brief);
  const counts = typeof lasts === 'number' && lasts >= 0;
  return { groups: new Set(named.filter((group) => seats.has(group))), lasts: counts ? lasts : 0 };
}
