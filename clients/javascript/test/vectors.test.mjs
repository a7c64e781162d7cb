// The vectors every implementation shares: tests/vectors.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { digest, fromBase64, toBase64, toBase64Url } from '../src/base64.js';
import { folder } from '../src/bundle.js';
import { lintBody, lintHeader } from '../src/canonical.js';
import { parseKept, parseSignedCheckpoint } from '../src/checkpoint.js';
import { WITNESS_KEYS, verifyCosignatures } from '../src/cosign.js';
import { parseBody } from '../src/entry.js';
import { pseudonym } from '../src/identities.js';
import { hex, parseKey, parseNote, verifyNote } from '../src/note.js';
import { inJson } from '../src/report.js';
import { sample } from '../src/sample.js';
import { sha256 } from '../src/sha256.js';
import { Frontier, leafHash, verifyConsistency, verifyInclusion } from '../src/tree.js';
import { parseKeys, parsePolicy } from '../src/trust.js';
import { verify } from '../src/verify.js';

const vectors = (name) => JSON.parse(readFileSync(new URL(`../../../tests/vectors/${name}.json`, import.meta.url)));
const bytes = (text) => new TextEncoder().encode(text);

function grown(leaves) {
  const frontier = new Frontier();
  const roots = [frontier.root()];
  for (const leaf of leaves) {
    frontier.push(leafHash(leaf));
    roots.push(frontier.root());
  }
  return roots;
}

test('roots and consistency of RFC 6962', () => {
  const { leaves_hex, roots_hex, consistency } = vectors('merkle').rfc6962;
  const roots = grown(leaves_hex.map((leaf) => Buffer.from(leaf, 'hex')));
  assert.deepEqual(roots.slice(1).map(hex), roots_hex);
  for (const { from, to, path } of consistency) {
    const proof = path.map(fromBase64);
    assert(verifyConsistency(from, roots[from], to, roots[to], proof));
    assert(!verifyConsistency(from, roots[from - 1], to, roots[to], proof));
    assert(!verifyConsistency(from, roots[from], to, roots[to], proof.slice(1)));
    assert(!verifyConsistency(from, roots[from], to, roots[to], [...proof, proof[0]]));
  }
});

test("Tessera's log", () => {
  const { leaves, roots, inclusion, consistency } = vectors('merkle').tessera;
  const ours = grown(leaves.map(bytes));
  assert.deepEqual(ours.map(toBase64), roots);
  for (const { index, size, path } of [inclusion].flat()) {
    const proof = path.map(fromBase64);
    assert(verifyInclusion(leafHash(bytes(leaves[index])), index, size, proof, ours[size]));
    assert(!verifyInclusion(leafHash(bytes(leaves[index])), index + 1, size, proof, ours[size]));
    assert(!verifyInclusion(leafHash(bytes(leaves[index])), size, size, proof, ours[size]));
  }
  for (const { from, to, path } of [consistency].flat()) {
    assert(verifyConsistency(from, ours[from], to, ours[to], path.map(fromBase64)));
  }
});

test('signed notes, a checkpoint and a cosignature', () => {
  const { spec, tessera } = vectors('notes');
  for (const { vkey, note } of [spec, { vkey: tessera.vkey, note: tessera.checkpoint }]) {
    const key = parseKey(vkey);
    assert.deepEqual(verifyNote(parseNote(note), [key]), [key]);
    assert.throws(() => verifyNote({ ...parseNote(note), text: 'another\n' }, [key]), /is false/);
  }
  const { vkey, time, line } = tessera.cosignature;
  const cosigned = parseNote(`${tessera.checkpoint}${line}\n`);
  const witness = parseKey(vkey, WITNESS_KEYS);
  assert.deepEqual(verifyCosignatures(cosigned, [witness]), [{ by: witness, time }]);
  assert.equal(parseSignedCheckpoint(tessera.checkpoint).checkpoint.size, 3);
  assert.throws(() => parseKey(spec.vkey.replace('+53', '+54')), /does not fit/);
});

test("Stint's own entries", () => {
  const { headers, bodies, leaves_hex } = vectors('stint');
  const leaves = headers.map((header) => leafHash(bytes(header)));
  headers.forEach((text, i) => {
    const header = lintHeader(bytes(text)); // a matter of spelling: its ids are placeholders
    assert.equal(header.get('seq'), i);
    assert.equal(toBase64Url(sha256(bytes(bodies[i]))), header.get('body'));
    const caller = parseBody(bytes(bodies[i])).get('caller');
    if (caller) assert.equal(toBase64Url(pseudonym(digest(caller.get('open')), caller.get('id'))), header.get('subj'));
  });
  if (leaves_hex) assert.deepEqual(leaves.map(hex), leaves_hex);
  assert.equal(toBase64(grown(headers.map(bytes))[2]), '0/p1rFqm16sb2roibVdPCEvOmBkYhkf0txQ7nBgyJnc=');
});

test('the one spelling of a value', () => {
  const { accept, refuse } = vectors('lint');
  for (const text of accept) lintBody(fromBase64(text));
  for (const { why, bytes: text } of refuse) assert.throws(() => lintBody(fromBase64(text)), Error, why);
});

test('samples', () => {
  for (const { root, nonce, seed, population, n, places } of vectors('sample')) {
    assert.deepEqual(sample(population, n, digest(root), nonce), { seed, drawn: places });
  }
});

/** All but the words: two verifiers need not choose the same. */
function withoutWords({ summary, verdicts, ...rest }) {
  assert.equal(typeof summary, 'string');
  return { ...rest, verdicts: verdicts.map(({ text, ...verdict }) => verdict) };
}

for (const one of vectors('verdicts')) {
  test(`bundle: ${one.name}`, async () => {
    const files = new Map(Object.entries(one.files).map(([name, text]) => [name, new Blob([text])]));
    const trust = {
      keys: parseKeys((one.keys ?? []).join('\n')),
      policy: one.policy === undefined ? undefined : parsePolicy(bytes(one.policy)),
      seen: one.since === undefined ? [] : [parseKept(one.since)],
    };
    const options = { now: one.now, maxAge: one.max_age, credential: digest(one.credential) ?? undefined, all: one.all };
    const told = await verify(folder(files), trust, options);
    assert.deepEqual(withoutWords(JSON.parse(inJson(told))), withoutWords(one.report));
  });
}
