// Bundles to check: a log of grants, made with the formats of LEDGER.md and Node's own crypto, not with the modules under
// test (but for the tree, whose vectors are elsewhere).

import { createHash, createHmac, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { crc32, deflateRawSync } from 'node:zlib';

import { Frontier, leafHash } from '../src/tree.js';

const SEED = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
const SUBJECT_KEY = Buffer.from(Array.from({ length: 32 }, (_, i) => 0x20 + i));
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** Text that would do something, were it ever more than text. */
const POISON = '<img src=x onerror=alert(1)><script>document.title=1</script>\u202egnp.exe';

export const LOG = 'stint.example/ledger';
const key = createPrivateKey({ key: Buffer.concat([PKCS8, SEED]), format: 'der', type: 'pkcs8' });
const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
const typed = Buffer.concat([Buffer.of(1), publicKey]);
const keyId = createHash('sha256').update(`${LOG}\n`).update(typed).digest().subarray(0, 4);

export const VKEY = `${LOG}+${keyId.toString('hex')}+${typed.toString('base64')}`;

const sha256 = (data) => createHash('sha256').update(data).digest();
const h = (data) => sha256(data).toString('base64url');
const hmac = (secret, data) => createHmac('sha256', secret).update(data).digest();
const BASE32 = '0123456789abcdefghjkmnpqrstvwxyz';

/** An id of 16 bytes made of `n`. */
function id(prefix, n) {
  let rest = BigInt(`0x${sha256(`${prefix}${n}`).toString('hex').slice(0, 32)}`);
  let text = '';
  for (let i = 0; i < 26; i++, rest >>= 5n) text = BASE32[Number(rest & 31n)] + text;
  return prefix + text;
}

function who(n) {
  const name = `spiffe://stint.example/github/1234/${n}`;
  const open = hmac(SUBJECT_KEY, `stint/subject/v1\n${LOG}\n${name}`);
  return { id: name, open: open.toString('base64url'), subj: hmac(open, name).toString('base64url') };
}

const CALLERS = Array.from({ length: 100 }, (_, n) => who(n));
const POL = h('policy');

/** JSON with members in order; ours are ASCII. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(',')}}`;
}

function body(seq) {
  const salt = sha256(`salt${seq}`).subarray(0, 16).toString('base64url');
  if (seq < 2) return canonical({ salt, what: { software: '0.1.0', storage: { engine: 'sqlite', version: '3.51.3' } } });
  const { id: name, open } = CALLERS[seq % CALLERS.length];
  return canonical({
    salt,
    what: {
      at: 1_795_305_600_000 + seq,
      caller: { id: name, issuer: 'github', kind: 'Workload', open },
      digest: h(`ask${seq}`),
      evidence: [{ digest: h(`token${seq}`), exp: 1_795_305_900_000 + seq, iat: 1_795_305_599_000, issuer: 'github', key: h('jwk'), type: 'oidc' }],
      key: h(`key${seq}`),
      limits: { ttl: 900 },
      policies: ['deploy'],
      profile: 'workload',
      query: {
        action: 'Action::"deploy"',
        context: { claims: { actor: 'octocat', environment: 'production', ref: 'refs/heads/main', repository: 'acme/web', run_id: '19475852113', workflow: 'deploy.yml' }, ttl: 900 },
        entities: [],
        principal: `Workload::"${name}"`,
        resources: ['Environment::"prod/web"'],
      },
      reason: seq === 7 ? POISON : `release 2.3.${seq} → prod`,
      serial: seq.toString(16),
      signer: 'ca-1',
    },
  });
}

function header(seq, prev, bytes) {
  const common = { body: h(bytes), log: LOG, node: 'a', prev, seq, ts: 1_795_305_600_000 + seq, v: 1 };
  if (seq === 0) {
    const what = { epoch: 0, hash: 'rfc6962-sha256', nonce: h('nonce'), vkey: VKEY };
    return canonical({ ...common, id: id('ent_', seq), kind: 'genesis', what });
  }
  if (seq === 1) return canonical({ ...common, id: id('ent_', seq), kind: 'policy_loaded', pol: POL, what: { ok: true } });
  const what = { cred: 'x509', exp: common.ts + 900_000, opens: true, task: id('task_', seq), tbs: h(`tbs${seq}`) };
  const { subj } = CALLERS[seq % CALLERS.length];
  return canonical({ ...common, id: id('gr_', seq), kind: 'granted', pol: POL, subj, what });
}

/** The first `n` entries of the log: exact header and body, one by one. */
export function* entries(n) {
  let prev = 'A'.repeat(43);
  for (let seq = 0; seq < n; seq++) {
    const text = body(seq);
    const made = header(seq, prev, text);
    prev = sha256(Buffer.concat([Buffer.of(0), Buffer.from(made)])).toString('base64url');
    yield { header: made, body: text };
  }
}

/** A signed checkpoint. */
export function checkpoint(size, root) {
  const text = `${LOG}\n${size}\n${Buffer.from(root).toString('base64')}\n`;
  const signature = Buffer.concat([keyId, sign(null, Buffer.from(text), key)]).toString('base64');
  return `${text}\n— ${LOG} ${signature}\n`;
}

/** The files of a bundle of the first `n` entries, as texts. */
export function files(n) {
  const frontier = new Frontier();
  let headers = '';
  let bodies = '';
  let seq = 0;
  for (const entry of entries(n)) {
    frontier.push(leafHash(Buffer.from(entry.header)));
    headers += `${entry.header}\n`;
    bodies += `${seq++}\t${entry.body}\n`;
  }
  return {
    'README.txt': 'a bundle\n',
    'bodies.tsv': bodies,
    checkpoint: checkpoint(n, frontier.root()),
    'headers.jsonl': headers,
    'manifest.json': manifest(n),
    'proof.json': '{"left":[],"right":[]}',
  };
}

function manifest(n) {
  return JSON.stringify({ v: 1, log: LOG, epoch: 0, from: 0, to: n, size: n, made_at: 1_795_305_700_000, promise: {}, files: [] });
}

/** A zip of `contents`, by name. `spoil` may change a file's two headers before they are written. */
export function zip(contents, spoil = () => {}) {
  const locals = [];
  const central = [];
  let at = 0;
  for (const [name, text] of Object.entries(contents)) {
    const data = Buffer.from(text);
    const packed = deflateRawSync(data);
    const file = { name: Buffer.from(name), flags: 0, method: 8, crc: crc(data), packed, size: data.length, at, extra: Buffer.alloc(0) };
    const twin = { ...file };
    spoil(file, twin);
    const local = Buffer.concat([fields(file, true), file.name, file.extra, file.packed]);
    locals.push(local);
    central.push(Buffer.concat([fields(twin, false), twin.name, twin.extra]));
    at += local.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(central.length, 8);
  end.writeUInt16LE(central.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...locals, directory, end]);
}

function crc(data) {
  return crc32 ? crc32(data) : 0;
}

function fields({ flags, method, crc: sum, packed, size, name, extra, at }, isLocal) {
  const out = Buffer.alloc(isLocal ? 30 : 46);
  out.writeUInt32LE(isLocal ? 0x04034b50 : 0x02014b50, 0);
  const from = isLocal ? 6 : 8;
  out.writeUInt16LE(flags, from);
  out.writeUInt16LE(method, from + 2);
  out.writeUInt32LE(sum, from + 8);
  out.writeUInt32LE(packed.length, from + 12);
  out.writeUInt32LE(size, from + 16);
  out.writeUInt16LE(name.length, from + 20);
  out.writeUInt16LE(extra.length, from + 22);
  if (!isLocal) out.writeUInt32LE(at, 42);
  return out;
}

/**
 * Writes a bundle of `n` entries to `folder`, one entry after the other, however many they are. The files are plain: what
 * packs them is no concern of a verifier's speed.
 * @param {string} folder that exists
 * @param {number} n
 */
export async function writeFolder(folder, n) {
  const frontier = new Frontier();
  const [headers, bodies] = ['headers.jsonl', 'bodies.tsv'].map((name) => createWriteStream(`${folder}/${name}`));
  let seq = 0;
  for (const entry of entries(n)) {
    frontier.push(leafHash(Buffer.from(entry.header)));
    if (!headers.write(`${entry.header}\n`)) await once(headers, 'drain');
    if (!bodies.write(`${seq++}\t${entry.body}\n`)) await once(bodies, 'drain');
  }
  const small = { checkpoint: checkpoint(n, frontier.root()), 'manifest.json': manifest(n), 'proof.json': '{"left":[],"right":[]}' };
  for (const stream of [headers, bodies]) {
    stream.end();
    await once(stream, 'finish');
  }
  for (const [name, text] of Object.entries(small)) {
    const stream = createWriteStream(`${folder}/${name}`);
    stream.end(text);
    await once(stream, 'finish');
  }
}
