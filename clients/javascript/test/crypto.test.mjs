// Hashes and signatures, held to Node's own.

import assert from 'node:assert/strict';
import { createHash, createHmac, generateKeyPairSync, randomBytes, sign, webcrypto } from 'node:crypto';
import { test } from 'node:test';

import { digest, fromBase64, fromBase64Url, isDigest, toBase64, toBase64Url } from '../src/base64.js';
import { verifyEd25519 } from '../src/ed25519.js';
import { Sha256, hmacSha256, sha256 } from '../src/sha256.js';
import { sha512 } from '../src/sha512.js';

const buffer = (bytes) => Buffer.from(bytes);

test('SHA-256 is that of WebCrypto, at every length and in every split', async () => {
  for (let length = 0; length < 260; length++) {
    const bytes = randomBytes(length);
    const expected = buffer(await webcrypto.subtle.digest('SHA-256', bytes));
    assert.deepEqual(buffer(sha256(bytes)), expected);
    const cut = Math.floor(length / 3);
    assert.deepEqual(buffer(sha256(bytes.subarray(0, cut), bytes.subarray(cut))), expected);
  }
  assert.equal(buffer(sha256(buffer('abc'))).toString('hex'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});

test('a million bytes, and one hasher for many hashes', () => {
  const million = new Uint8Array(1_000_000).fill(0x61);
  const hasher = new Sha256();
  for (let i = 0; i < 3; i++) {
    assert.equal(buffer(hasher.reset().update(million).finish()).toString('hex'), 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0');
  }
  const prefixed = createHash('sha256').update(Buffer.of(1)).update(million).digest();
  assert.deepEqual(buffer(hasher.reset().byte(1).update(million).finish()), prefixed);
});

test('HMAC and SHA-512 are those of Node', () => {
  for (let length = 0; length < 300; length += 7) {
    const [key, bytes] = [randomBytes(32), randomBytes(length)];
    assert.deepEqual(buffer(hmacSha256(key, bytes)), createHmac('sha256', key).update(bytes).digest());
    assert.deepEqual(buffer(sha512(bytes)), createHash('sha512').update(bytes).digest());
  }
});

test('Ed25519 takes what Node signs, and nothing else', () => {
  for (let n = 0; n < 20; n++) {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const key = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
    const message = randomBytes(n * 13);
    const signature = sign(null, message, privateKey);
    assert(verifyEd25519(key, message, signature));
    assert(!verifyEd25519(key, Buffer.concat([message, Buffer.of(0)]), signature));
    assert(!verifyEd25519(key, message, signature.subarray(1)));
    assert(!verifyEd25519(key.subarray(1), message, signature));
    for (const at of [0, 31, 32, 63]) {
      const spoiled = Buffer.from(signature);
      spoiled[at] ^= 1;
      assert(!verifyEd25519(key, message, spoiled));
    }
  }
});

test('RFC 8032 §7.1, test 3', () => {
  const [key, message, signature] = [
    'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    'af82',
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  ].map((hex) => Buffer.from(hex, 'hex'));
  assert(verifyEd25519(key, message, signature));
  // The same with S + L: another signature of the same message, which only a lax reader takes.
  const order = (1n << 252n) + 27742317777372353535851937790883648493n;
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`) + order;
  const twin = Buffer.concat([signature.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse()]);
  assert(!verifyEd25519(key, message, twin));
});

test('base64 has one spelling', () => {
  for (let length = 0; length < 70; length++) {
    const bytes = randomBytes(length);
    assert.equal(toBase64(bytes), bytes.toString('base64'));
    assert.equal(toBase64Url(bytes), bytes.toString('base64url'));
    assert.deepEqual(buffer(fromBase64(bytes.toString('base64'))), bytes);
    assert.deepEqual(buffer(fromBase64Url(bytes.toString('base64url'))), bytes);
  }
  for (const bad of ['A', 'AA', 'AA=', 'AB==', 'AAB=', 'AA==\n', 'A-==', '====', 'AA=A']) assert.equal(fromBase64(bad), null, bad);
  const good = '47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU';
  assert(isDigest(good) && digest(good).length === 32);
  for (const bad of [`${good}=`, good.slice(1), `${good.slice(0, -1)}V`, good.replace('-', '+'), 7, null, undefined]) {
    assert(!isDigest(bad) && digest(bad) === null, String(bad));
  }
});
