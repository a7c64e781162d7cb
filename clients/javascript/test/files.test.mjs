// What bundles are made of: zips, lines, JSON, texts of the auditor's.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { ContainerError, isBundleFile } from '../src/bundle.js';
import { LintError, lintBody, lintHeader } from '../src/canonical.js';
import { decimal, parseKept } from '../src/checkpoint.js';
import { signedBytes } from '../src/credential.js';
import { search } from '../src/entries.js';
import { Inexact, JsonError, parseJson } from '../src/json.js';
import { LineError, Lines } from '../src/lines.js';
import { parseNote } from '../src/note.js';
import { Ranges } from '../src/ranges.js';
import { inJson, inWords, unreadable } from '../src/report.js';
import { sha256 } from '../src/sha256.js';
import { parseKeys, parsePolicy } from '../src/trust.js';
import { verify } from '../src/verify.js';
import { openZip } from '../src/zip.js';
import { VKEY, files, zip } from './make.mjs';

const bytes = (text) => new TextEncoder().encode(text);
const open = (data) => openZip(new Blob([data]));

test('a bundle verifies, and a spoiled one names its entry', async () => {
  const trust = { keys: parseKeys(VKEY) };
  const told = await verify(await open(zip(files(20))), trust, { now: 0 });
  assert.equal(told.exit, 0, inWords(told));
  const spoiled = files(20);
  spoiled['headers.jsonl'] = spoiled['headers.jsonl'].replace('"exp":1795306500009', '"exp":1795306500008');
  const failed = await verify(await open(zip(spoiled)), trust, { now: 0 });
  assert.equal(failed.exit, 8);
  assert.equal(failed.verdicts.find((one) => one.name === 'chain').seq, 9);
});

test('without a pinned key nothing is verified', async () => {
  for (const keys of [[], parseKeys('example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k')]) {
    const told = await verify(await open(zip(files(3))), { keys }, { now: 0 });
    assert.equal(told.exit, 9);
    assert(!inWords(told).includes('verified'));
  }
});

test('zips that are not quite bundles are refused', async () => {
  const sound = zip(files(3));
  const spoilt = (spoil) => zip(files(3), spoil);
  const refused = {
    nothing: Buffer.alloc(0),
    'cut off': sound.subarray(0, -1),
    'a byte before': Buffer.concat([Buffer.of(0), sound]),
    'a byte behind': Buffer.concat([sound, Buffer.of(0)]),
    encrypted: spoilt((local, central) => { local.flags = central.flags = 1; }),
    streamed: spoilt((local, central) => { local.flags = central.flags = 8; }),
    'a foreign method': spoilt((local, central) => { local.method = central.method = 12; }),
    'two names': spoilt((local, central) => { central.name = Buffer.from('x'.repeat(local.name.length)); }),
    'two sizes': spoilt((local) => { local.size += 1; }),
    'a foreign name': zip({ ...files(3), 'evil.exe': 'x' }),
    'a way out': zip({ ...files(3), 'policies/../x': 'x' }),
    'an extra field': spoilt((local) => { local.extra = Buffer.from('up\u0001\u0000x'); }),
    'stored, of another size': spoilt((local, central) => { local.method = central.method = 0; }),
  };
  for (const [why, data] of Object.entries(refused)) await assert.rejects(open(data), ContainerError, why);
  const twice = Buffer.from(zip(files(3)).toString('latin1').replaceAll('proof.json', 'checkpoint'), 'latin1');
  await assert.rejects(open(twice), /twice/);
});

test('a file that is not what its header says is no bundle, and a bomb ends where it said it would', async () => {
  for (const spoil of [
    (local, central) => { local.size = central.size = local.size + 1; },
    (local, central) => { local.size = central.size = local.size - 1; },
    (local, central) => { local.packed = central.packed = Buffer.concat([local.packed, Buffer.of(0)]); },
    (local, central) => { local.packed = central.packed = local.packed.subarray(0, -1); },
  ]) {
    const source = await open(zip(files(3), (local, central) => local.name.toString() === 'headers.jsonl' && spoil(local, central)));
    const told = await verify(source, { keys: [] }, { now: 0 });
    assert.equal(told.exit, 8);
    assert.equal(told.log, '');
  }
  const bomb = await open(zip({ ...files(3), 'headers.jsonl': Buffer.alloc(1 << 26) }));
  assert.match((await verify(bomb, { keys: [] }, { now: 0 })).verdicts[0].text, /line of more than 4096 bytes/);
});

test('names of files', () => {
  for (const name of ['manifest.json', 'receipts/7.tlog-proof', 'policies/abc/web.cedar']) assert(isBundleFile(name), name);
  for (const name of ['', 'x', '/manifest.json', 'receipts/', 'receipts/../x', 'receipts/.x', 'receipts//x', 'policies/ä', 'trust\\x']) {
    assert(!isBundleFile(name), name);
  }
});

test('lines are bounded, and end', async () => {
  const lines = (text, size, max) => {
    const chunks = text.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? [];
    return new Lines({ read: async () => (chunks.length > 0 ? bytes(chunks.shift()) : null), close() {} }, max);
  };
  for (const size of [1, 2, 3, 100]) {
    const read = [];
    const all = lines('ab\n\nabcd\n', size, 4);
    for (let line = await all.line(); line !== null; line = await all.line()) read.push(new TextDecoder().decode(line));
    assert.deepEqual(read, ['ab', '', 'abcd']);
    await assert.rejects(lines('abcde\n', size, 4).line(), LineError);
    await assert.rejects(lines('abcdefghijk', size, 4).line(), /more than/);
    await assert.rejects(lines('abc', size, 4).line(), /cut off/);
  }
});

test('JSON loses nothing', () => {
  assert.equal(parseJson(bytes('9007199254740991')), 9_007_199_254_740_991);
  assert.equal(parseJson(bytes('9007199254740993')), 9_007_199_254_740_993n);
  for (const text of ['1.0', '-0', '1e3', '18446744073709551616']) assert(parseJson(bytes(text)) instanceof Inexact, text);
  assert(parseJson(bytes('{"__proto__":1}')).has('__proto__'));
  for (const text of ['', '{', '{"a"}', '[1,]', '01', '1.', '.1', '+1', '1e400', '"\\ud800"', '"\\x"', '"\n"', 'nul', '[1] 2', '\ufeff{}', '['.repeat(128)]) {
    assert.throws(() => parseJson(bytes(text)), JsonError, text);
  }
  assert.throws(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22)), JsonError);
});

test('a lint says which rule is broken', () => {
  const header = (text) => lintHeader(bytes(text));
  for (const [text, why] of [
    ['{"a":"é"}', /printable ASCII/],
    ['{"a":-1}', /printable ASCII/],
    ['{"a":9007199254740992}', /printable ASCII/],
    ['{"a":[[[[1]]]]}', /more deeply than 4/],
    [`{"a":"${'x'.repeat(4_096)}"}`, /longer than 4096/],
    ['{"b":1,"a":1}', /canonical spelling/],
    ['{"a":null}', /null/],
    ['{"a"', /not JSON/],
  ]) assert.throws(() => header(text), (error) => error instanceof LintError && why.test(error.message), text);
  assert.throws(() => lintBody(bytes('{"a":1.5}')), /not an integer/);
  assert.throws(() => lintBody(bytes(`${'['.repeat(17)}${']'.repeat(17)}`)), /more deeply than 16/);
  lintBody(bytes('{"\u{1f600}":1,"\uff5e":2}'));
});

test('notes: what C2SP allows and what it does not', () => {
  const good = 'text\n\n— a.example AAAAAAAAAAAA\n';
  assert.equal(parseNote(good).signatures.length, 1);
  assert.equal(parseNote(good.replace('text', 'te\n\nxt')).text, 'te\n\nxt\n');
  const line = '— a.example AAAAAAAAAAAA\n';
  assert.equal(parseNote(`text\n\n${line.repeat(64)}`).signatures.length, 64);
  for (const bad of [`text\n\n${line.repeat(65)}`, good.slice(0, -1), good.replace('\n', '\r\n'), 'text\n', good.replace('—', '-'),
    good.replace('a.example', 'a+b'), good.replace('a.example', 'a\u0085b'), good.replace('AAAAAAAAAAAA', 'AAAA'), `${good}\n`]) {
    assert.throws(() => parseNote(bad), bad);
  }
  assert.equal(parseKept(`log\n7\n${'A'.repeat(43)}=\n`).size, 7);
  for (const text of ['', '01', '-1', '+1', '1.0', '18446744073709551616', ' 1']) assert.equal(decimal(text), null);
});

test('policies are read strictly', () => {
  const key = 'witness+24b37851+BNYV1Ztajd9BvyjP2HgpwrqYL6TjOwIjGMOq8Bu42xbN';
  const policy = (text) => parsePolicy(bytes(text));
  assert.equal(policy(`# ours\n\nwitness w ${key} https://w.example\ngroup g 1 w\nquorum g\n`).quorum, 'g');
  for (const [text, why] of [
    ['quorum none', /line feed/],
    ['', /no `quorum`/],
    ['quorum none\nquorum none\n', /second/],
    ['quorum g\n', /not defined/],
    [`witness w ${key}\nwitness v ${key}\nquorum none\n`, /twice/],
    [`witness w ${key}\ngroup g 2 w\nquorum g\n`, /from 1 to 1/],
    [`witness w ${key}\ngroup g 1 w\ngroup h 1 w\nquorum g\n`, /already/],
    [`witness none ${key}\nquorum none\n`, /taken/],
    ['wittness x\nquorum none\n', /begins with/],
    ['constructor x\nquorum none\n', /begins with/],
    ['quorum\u0001none\n', /control/],
  ]) assert.throws(() => policy(text), why, text);
});

test('ranges, as one would count by hand', () => {
  let seed = 7;
  const coin = () => ((seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) >> 16) & 1;
  for (let round = 0; round < 300; round++) {
    const [here, there] = [new Ranges(), new Ranges()];
    const both = Array.from({ length: 24 }, (_, seq) => ({ seq, a: coin(), b: coin() }));
    for (const { seq, a } of both) if (a) here.add(seq, seq + 1);
    for (const { seq, b } of [...both].reverse()) if (b) there.add(seq, seq + 1);
    const expected = { both: both.filter(({ a, b }) => a && b).length, first: both.find(({ a, b }) => a && !b)?.seq };
    assert.deepEqual(here.within(there), expected);
  }
});

test('a credential is known by what was signed', () => {
  const tbs = Buffer.from('3003020107', 'hex');
  const der = Buffer.concat([Buffer.from('300a', 'hex'), tbs, Buffer.from('3003020109', 'hex')]);
  const pem = `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`;
  assert.deepEqual(signedBytes(`text before\n${pem}`), sha256(tbs));
  assert.deepEqual(signedBytes('e30.e30.c2ln\n'), sha256(bytes('e30.e30')));
  for (const bad of ['', 'no.token', pem.replace('MAo', 'MQo'), pem.replace('MAo', 'MHo')]) assert.throws(() => signedBytes(bad), bad);
});

test('entries are found by number, kind and any text', async () => {
  const source = await open(zip(files(60)));
  const found = async (asked) => {
    const seqs = [];
    for await (const { seq } of search(source, 0, { text: '', kind: '', ...asked })) seqs.push(seq);
    return seqs;
  };
  assert.equal((await found({})).length, 60);
  assert.deepEqual(await found({ seq: 7 }), [7]);
  assert.deepEqual(await found({ kind: 'genesis' }), [0]);
  assert.deepEqual(await found({ text: 'release 2.3.41 ' }), [41]);
  assert.deepEqual(await found({ text: 'nowhere' }), []);
});

test('reports steer no terminal and keep large numbers', () => {
  const told = unreadable('\u001b[2J\nok');
  assert(inWords(told).startsWith('failed    bytes      \\u{1b}[2J\\u{a}ok'));
  told.verdicts[0].seq = 18_446_744_073_709_551_615n;
  assert(inJson(told).includes('"seq":18446744073709551615'));
});

test('the program: exit codes and usage', () => {
  const folder = mkdtempSync(join(tmpdir(), 'stint-'));
  const program = new URL('../verify.mjs', import.meta.url).pathname;
  const run = (...args) => {
    try {
      return { out: execFileSync(process.execPath, [program, ...args], { encoding: 'utf8', stdio: 'pipe' }), status: 0 };
    } catch (error) {
      return { out: error.stdout, status: error.status };
    }
  };
  try {
    const path = join(folder, 'a.stint');
    writeFileSync(path, zip(files(3)));
    assert.equal(run(path, '--key', VKEY).status, 0);
    assert.equal(JSON.parse(run(path, '-o', 'json').out).exit, 9);
    writeFileSync(path, 'no bundle');
    assert.equal(run(path, '--key', VKEY).status, 8);
    assert.equal(run(join(folder, 'none'), '--key', VKEY).status, 2);
    assert.equal(run(path, '--key', 'nonsense').status, 2);
    assert.equal(run().status, 2);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
