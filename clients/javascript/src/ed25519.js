// Ed25519 verification (RFC 8032 §5.1.7), over bigints.
//
// Why not WebCrypto: not every browser has it, and those that have it disagree at the edges (keys and points of small
// order, points spelled twice), so that one bundle would get two verdicts. A bundle has a handful of signatures; at some
// milliseconds each this is the smaller price. Nothing here is secret, so nothing has to take constant time.
//
// Strict where it counts: S below the group order (RFC 8032 asks for it, or anybody could make a second signature of a
// first), no cofactor, and R compared as bytes, so that it has one spelling.

import { equal } from './base64.js';
import { sha512 } from './sha512.js';

const P = (1n << 255n) - 19n;
/** The order of the base point. */
const L = (1n << 252n) + 27742317777372353535851937790883648493n;

const mod = (x) => {
  const rest = x % P;
  return rest < 0n ? rest + P : rest;
};

function power(base, exponent) {
  let out = 1n;
  for (let x = mod(base), e = exponent; e > 0n; e >>= 1n, x = mod(x * x)) if (e & 1n) out = mod(out * x);
  return out;
}

const inverse = (x) => power(x, P - 2n);

/** The curve -x² + y² = 1 + d·x²·y². */
const D = mod(-121665n * inverse(121666n));
const ROOT_OF_MINUS_1 = power(2n, (P - 1n) / 4n);

/** @typedef {{x: bigint, y: bigint, z: bigint, t: bigint}} Point with x/z, y/z and t = x·y/z */

const ZERO = { x: 0n, y: 1n, z: 1n, t: 0n };

/** RFC 8032 §5.1.4: complete, so that no case has to be told apart. */
function add(p, q) {
  const a = mod((p.y - p.x) * (q.y - q.x));
  const b = mod((p.y + p.x) * (q.y + q.x));
  const c = mod(2n * p.t * q.t * D);
  const d = mod(2n * p.z * q.z);
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return { x: mod(e * f), y: mod(g * h), z: mod(f * g), t: mod(e * h) };
}

function double(p) {
  const a = mod(p.x * p.x);
  const b = mod(p.y * p.y);
  const h = a + b;
  const e = h - mod((p.x + p.y) * (p.x + p.y));
  const g = a - b;
  const f = 2n * p.z * p.z + g;
  return { x: mod(e * f), y: mod(g * h), z: mod(f * g), t: mod(e * h) };
}

/** s·P + k·Q, both at once: one doubling a bit. */
function combine(s, p, k, q) {
  const both = add(p, q);
  let out = ZERO;
  for (let bit = 255n; bit >= 0n; bit--) {
    out = double(out);
    const [inS, inK] = [(s >> bit) & 1n, (k >> bit) & 1n];
    if (inS | inK) out = add(out, inS & inK ? both : inS ? p : q);
  }
  return out;
}

/** RFC 8032 §5.1.3. `y` is taken modulo P, as the broker's library does. */
function decode(bytes) {
  const number = little(bytes);
  const y = mod(number & ((1n << 255n) - 1n));
  const u = mod(y * y - 1n);
  const v = mod(D * y * y + 1n);
  let x = mod(u * power(v, 3n) * power(u * power(v, 7n), (P - 5n) / 8n));
  if (mod(v * x * x) !== u) x = mod(x * ROOT_OF_MINUS_1);
  if (mod(v * x * x) !== u) return null;
  if ((x & 1n) !== number >> 255n) x = mod(-x);
  return { x, y, z: 1n, t: mod(x * y) };
}

function encode(point) {
  const z = inverse(point.z);
  const number = mod(point.y * z) | ((mod(point.x * z) & 1n) << 255n);
  return Uint8Array.from({ length: 32 }, (_, i) => Number((number >> BigInt(8 * i)) & 0xffn));
}

function little(bytes) {
  return bytes.reduceRight((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

const BASE = decode(Uint8Array.of(0x58, ...new Uint8Array(31).fill(0x66)));

/**
 * Whether `signature` over `message` is of the owner of `key`.
 * @param {Uint8Array} key 32 bytes
 * @param {Uint8Array} message
 * @param {Uint8Array} signature 64 bytes: R ‖ S
 */
export function verifyEd25519(key, message, signature) {
  if (key.length !== 32 || signature.length !== 64) return false;
  const r = signature.slice(0, 32);
  const s = little(signature.slice(32));
  const a = decode(key);
  if (s >= L || a === null) return false;
  const hashed = new Uint8Array(64 + message.length);
  hashed.set(r);
  hashed.set(key, 32);
  hashed.set(message, 64);
  const k = little(sha512(hashed)) % L;
  const minus = { x: mod(-a.x), y: a.y, z: 1n, t: mod(-a.t) };
  return equal(encode(combine(s, BASE, k, minus)), r);
}
