// The step: who this job is, one ask, and the credential in files that the post step removes.

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { Broker } from './broker.mjs';
import { certificate, certificateKey } from './keys.mjs';
import { Failure, fail, input, mask, output, required, say, state, summary } from './runner.mjs';
import { denied, granted, held, summaryOf, summaryOfFailure } from './words.mjs';

/** Between two looks at a request that waits for people, seconds: what the broker says, within these. */
const LOOK_S = [1, 30];

async function main() {
  const [ask, key] = wanted();
  const wait = seconds('wait') ?? 600;
  const broker = await Broker.at(required('url'), input('fingerprint'));
  await expected(broker);
  const grant = await obtained(broker, ask, wait);
  fits(broker, grant, ask, key);
  keep(grant, key);
  say('granted', granted(grant));
  summary(summaryOf(grant, ask));
}

/** The ask of the inputs, and the key it is for. */
function wanted() {
  const resources = required('resources').split('\n').map((line) => line.trim()).filter(Boolean);
  const audience = input('audience');
  const key = audience ? undefined : certificateKey();
  if (key) mask(key.key);
  const credential = audience ? { kind: 'jwt', audience } : { kind: 'x509', csr: key.csr };
  if (input('profile')) credential.profile = input('profile');
  const ask = { action: required('action'), credential, resources };
  if (input('reason')) ask.reason = input('reason');
  const ttl = seconds('ttl');
  if (ttl !== undefined) ask.ttl_s = ttl;
  return [ask, key];
}

/** `90`, `90s`, `15m`, `1h`. */
function seconds(name) {
  const text = input(name);
  if (!text) return undefined;
  const [, number, unit] = /^(\d{1,6})([smh]?)$/.exec(text) ?? [];
  if (!number) throw new Failure(`input \`${name}\` is \`${text}\`, which is no time such as 90s, 15m or 1h`);
  return Number(number) * { '': 1, h: 3600, m: 60, s: 1 }[unit];
}

/** Stops before anything is asked for somebody else. */
async function expected(broker) {
  const caller = input('expect-caller');
  if (!caller) return;
  const { id, json, status } = await broker.whoami();
  if (status !== 200) throw problem(json, status, id);
  if (json.spiffe_id !== caller) {
    throw new Failure(`this job is ${json.spiffe_id}, not ${caller}: nothing was asked`, [
      ['next', 'run it in the repository it was written for, or change expect-caller'],
    ]);
  }
}

/** A grant, now or when people have said yes. */
async function obtained(broker, ask, wait) {
  const end = Date.now() + wait * 1000;
  let shown;
  for (;;) {
    const { id, json, status } = await broker.grant(ask);
    if (status === 201) return json;
    if (status === 202) {
      if (shown !== json.request) held(json).forEach(([word, text]) => say(word, text));
      shown = json.request;
    } else if (status !== 429 && status !== 503) {
      throw json?.code === 'denied' ? refusal(json, ask) : problem(json, status, id);
    }
    const again = Number.isFinite(json?.retry_after_s) ? json.retry_after_s : 5;
    const pause = Math.min(Math.max(again, LOOK_S[0]), LOOK_S[1]) * 1000;
    if (Date.now() + pause > end) {
      throw status === 202 ? unanswered(json) : problem(json, status, id);
    }
    await sleep(pause);
  }
}

function unanswered(hold) {
  return new Failure(`nobody has approved ${hold.request} yet; it stays open until ${hold.expires_at}`, [
    ...held(hold),
    ['next', 'once it is approved, run this job again: the same ask finds the same request'],
  ], 'Stint: pending');
}

function problem(json, status, id) {
  if (!json?.code) return new Failure(`the answer is not Stint's (HTTP ${status})`);
  const next = json.next_action?.command ?? json.next_action?.url;
  const quote = json.decision ?? id;
  return new Failure(`${json.code}: ${json.detail}${quote ? ` (${quote})` : ''}`, next ? [['next', next]] : []);
}

/** A denial; who we are goes into a file, for whoever looks into it at a desk. */
function refusal(json, ask) {
  const caller = json.decision_receipt?.caller;
  let file;
  if (caller) {
    file = join(folder(), 'claims.json');
    writeFileSync(file, `${JSON.stringify(caller, null, 2)}\n`, { mode: 0o600 });
    output('claims-file', file);
  }
  const lines = denied(json, ask, file && 'claims.json');
  return new Failure(`${json.detail} (decision ${json.decision}; final, asking again will not help)`, lines, 'Stint: denied');
}

/** What was granted is of the kind, for the key, and from the trust domain that was asked. */
function fits(broker, grant, ask, key) {
  broker.compare(grant.trust_bundle);
  const { credential } = grant;
  if (credential.kind !== ask.credential.kind) throw new Failure('the credential is of another kind');
  if (!key) return mask(credential.token);
  const path = [credential.certificate, ...credential.chain, grant.trust_bundle].map(certificate);
  if (!path[0].checkPrivateKey(key.privateKey)) throw new Failure('the certificate is for another key');
  const leads = path.slice(1).every((issuer, index) => path[index].checkIssued(issuer) && path[index].verify(issuer.publicKey));
  if (!leads) throw new Failure('the certificate does not lead to the trust domain\'s root');
  return undefined;
}

/** Files that only this user can read, and where they are. */
function keep(grant, key) {
  const { credential } = grant;
  const dir = folder();
  const file = (name, text) => {
    writeFileSync(join(dir, name), text, { flag: 'wx', mode: 0o600 });
    return join(dir, name);
  };
  if (key) {
    output('cert-file', file('cert.pem', credential.certificate + credential.chain.join('')));
    output('key-file', file('key.pem', key.key));
    output('spiffe-id', credential.spiffe_id);
  } else {
    output('jwt-file', file('jwt', credential.token));
  }
  output('bundle-file', file('bundle.pem', grant.trust_bundle));
  output('expires-at', grant.expires_at);
  output('grant-id', grant.grant);
}

let made;

/** A folder of mode 0700, known to the post step before anything is in it. */
function folder() {
  if (!made) {
    made = mkdtempSync(join(process.env.RUNNER_TEMP || tmpdir(), 'stint-'));
    state('folder', made);
  }
  return made;
}

try {
  await main();
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  summary(summaryOfFailure(error));
  fail(error);
}
