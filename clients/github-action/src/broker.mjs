// The broker: its facts, and calls that bring a fresh token and a proof of this job's key.

import { randomUUID } from 'node:crypto';

import { evidence, judge } from './evidence.mjs';
import { get, isSecure, post } from './http.mjs';
import { Session, certificate } from './keys.mjs';
import { Failure } from './runner.mjs';

export class Broker {
  #session = new Session();
  /** The broker's clock less ours, seconds. */
  #skew = 0;

  /** Reaches it, and compares its root with the pin. */
  static async at(text, pin) {
    const broker = new Broker();
    broker.url = parsed(text);
    const { json, status } = await broker.#read(get(`${broker.url}/v1/trust`, {}));
    if (status !== 200 || typeof json?.audience !== 'string') {
      throw new Failure(`${broker.url} is no broker of Stint (HTTP ${status})`);
    }
    // GitHub makes tokens for whatever is asked: one for another place would open that.
    if (!isAt(json.audience, broker.url)) throw new Failure(`the audience that ${broker.url} names is of another place`);
    broker.audience = json.audience;
    broker.pin = pin && pin.replace(/^sha256:/, '').replace(/:/g, '').toLowerCase();
    broker.compare(json.root_pem);
    return broker;
  }

  /** Refuses any root but the pinned one. */
  compare(root) {
    const found = certificate(root).fingerprint256.replace(/:/g, '').toLowerCase();
    if (this.pin && this.pin !== found) {
      throw new Failure(`the broker's root is sha256:${found}, not the pinned sha256:${this.pin}`, [
        ['next', 'somebody else answers, or the root was replaced: ask its operator before changing the pin'],
      ]);
    }
  }

  /** Who this job is, as the broker sees it. Spends nothing. */
  whoami() {
    return this.#post('/v1/whoami', {});
  }

  /**
   * An ask, and once more where its answer was lost on the way: the key that comes with both says that they are one, so
   * nothing is minted twice. A token is not kept by the broker: one that was lost is asked for anew.
   */
  async grant(ask) {
    const send = (once) => this.#post('/v1/grants', ask, { 'idempotency-key': once });
    const once = randomUUID();
    try {
      return await send(once);
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
    }
    const answer = await send(once);
    return answer.json?.code === 'already_delivered' ? send(randomUUID()) : answer;
  }

  async #post(path, body, more = {}) {
    const token = await evidence(this.audience);
    const url = `${this.url}${path}`;
    const now = Math.floor(Date.now() / 1000) + this.#skew;
    const headers = { ...more, authorization: `Bearer ${token}`, dpop: this.#session.proof(url, token, now) };
    const answer = await this.#read(post(url, headers, body));
    if (answer.json?.code === 'evidence_rejected') {
      const seen = judge(token, this.audience, now).map((text) => ['look', text]);
      throw new Failure('the broker did not accept this job\'s ID token', [
        ...seen,
        ['next', `an operator sees the reason${answer.id ? ` under ${answer.id}` : ''}`],
      ]);
    }
    return answer;
  }

  async #read(call) {
    try {
      const answer = await call;
      if (!Number.isNaN(answer.date)) this.#skew = Math.round((answer.date - Date.now()) / 1000);
      return answer;
    } catch (error) {
      const why = error.name === 'TimeoutError' ? 'it takes too long' : error.cause?.message ?? error.message;
      throw new Lost(`${this.url} does not answer: ${why}`, [['next', 'check the URL and the network, then run it again']]);
    }
  }
}

/** No answer came, or only a part of one. */
class Lost extends Failure {}

/** Whether an audience is at the broker's own place. On this machine any is, for there is nobody else to be. */
export function isAt(audience, url) {
  const broker = new URL(url);
  return broker.protocol === 'http:' || (URL.canParse(audience) && new URL(audience).origin === broker.origin);
}

function parsed(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    throw new Failure(`\`${text}\` is no URL`);
  }
  if (!isSecure(url)) throw new Failure(`\`${text}\` is no broker to talk to: only https is spoken, or http to this machine`);
  if (url.search || url.hash || url.username || url.password) {
    throw new Failure('the broker\'s URL has a user, a query or a fragment');
  }
  return url.href.replace(/\/+$/, '');
}
