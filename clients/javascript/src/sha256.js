// SHA-256 (FIPS 180-4) and HMAC-SHA256 (RFC 2104), synchronous, over typed arrays.
//
// Why not WebCrypto: its digest answers by a promise, one per call, and an entry needs three. A million entries would
// spend most of their time in the queue. The tests hold this one to WebCrypto's answers.

const K = new Int32Array([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
]);

const BLOCK = 64;

/** Bytes of a SHA-256 hash. */
export const HASH = 32;

/** The message schedule, shared: nothing here runs twice at a time. */
const W = new Int32Array(64);

/** One hash in the making: update as often as needed, then finish once. */
export class Sha256 {
  constructor() {
    this.state = new Int32Array(8);
    this.block = new Uint8Array(BLOCK);
    this.reset();
  }

  /** Begins anew, so that one object serves a million hashes. */
  reset() {
    const h = this.state;
    h[0] = 0x6a09e667;
    h[1] = 0xbb67ae85;
    h[2] = 0x3c6ef372;
    h[3] = 0xa54ff53a;
    h[4] = 0x510e527f;
    h[5] = 0x9b05688c;
    h[6] = 0x1f83d9ab;
    h[7] = 0x5be0cd19;
    this.filled = 0;
    this.length = 0;
    return this;
  }

  /**
   * Takes in one byte: the prefixes of RFC 6962.
   * @param {number} byte
   */
  byte(byte) {
    this.block[this.filled++] = byte;
    this.length += 1;
    if (this.filled === BLOCK) {
      compress(this.state, this.block, 0);
      this.filled = 0;
    }
    return this;
  }

  /**
   * Takes in `bytes` from `start` up to, not including, `end`.
   * @param {Uint8Array} bytes
   * @param {number} [start]
   * @param {number} [end]
   */
  update(bytes, start = 0, end = bytes.length) {
    const { block, state } = this;
    this.length += end - start;
    let at = start;
    if (this.filled > 0) {
      const taken = Math.min(BLOCK - this.filled, end - at);
      for (let i = 0; i < taken; i++) block[this.filled + i] = bytes[at + i];
      this.filled += taken;
      at += taken;
      if (this.filled < BLOCK) return this;
      compress(state, block, 0);
      this.filled = 0;
    }
    for (; at + BLOCK <= end; at += BLOCK) compress(state, bytes, at);
    for (; at < end; at++) block[this.filled++] = bytes[at];
    return this;
  }

  /**
   * Writes the hash to `out` at `at` and returns `out`. The object is spent until `reset`.
   * @param {Uint8Array} [out]
   * @param {number} [at]
   */
  finish(out = new Uint8Array(HASH), at = 0) {
    const { block, state } = this;
    block[this.filled++] = 0x80;
    if (this.filled > BLOCK - 8) {
      block.fill(0, this.filled);
      compress(state, block, 0);
      this.filled = 0;
    }
    block.fill(0, this.filled, BLOCK - 8);
    word(block, BLOCK - 8, Math.floor(this.length / 0x20000000));
    word(block, BLOCK - 4, (this.length << 3) >>> 0);
    compress(state, block, 0);
    for (let i = 0; i < 8; i++) word(out, at + 4 * i, state[i]);
    return out;
  }
}

const shared = new Sha256();

/**
 * SHA-256 of the parts, one after the other.
 * @param {...Uint8Array} parts
 * @returns {Uint8Array} 32 bytes
 */
export function sha256(...parts) {
  shared.reset();
  for (const part of parts) shared.update(part);
  return shared.finish();
}

/**
 * HMAC-SHA256.
 * @param {Uint8Array} key at most 64 bytes
 * @param {Uint8Array} message
 * @returns {Uint8Array} 32 bytes
 */
export function hmacSha256(key, message) {
  const inner = new Uint8Array(BLOCK).fill(0x36);
  const outer = new Uint8Array(BLOCK).fill(0x5c);
  for (let i = 0; i < key.length; i++) {
    inner[i] ^= key[i];
    outer[i] ^= key[i];
  }
  return sha256(outer, sha256(inner, message));
}

function word(out, at, value) {
  out[at] = value >>> 24;
  out[at + 1] = value >>> 16;
  out[at + 2] = value >>> 8;
  out[at + 3] = value;
}

function compress(state, bytes, at) {
  const w = W;
  for (let i = 0; i < 16; i++, at += 4) {
    w[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
  }
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15];
    const y = w[i - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
  }
  let a = state[0], b = state[1], c = state[2], d = state[3];
  let e = state[4], f = state[5], g = state[6], h = state[7];
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + (g ^ (e & (f ^ g))) + K[i] + w[i]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) | (c & (a | b)))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] = (state[0] + a) | 0;
  state[1] = (state[1] + b) | 0;
  state[2] = (state[2] + c) | 0;
  state[3] = (state[3] + d) | 0;
  state[4] = (state[4] + e) | 0;
  state[5] = (state[5] + f) | 0;
  state[6] = (state[6] + g) | 0;
  state[7] = (state[7] + h) | 0;
}
