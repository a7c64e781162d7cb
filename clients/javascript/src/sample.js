// `sample` (LEDGER.md §11): which entries an auditor looks at, so that neither he nor the log's operator can steer it.

import { toBase64Url } from './base64.js';
import { sha256 } from './sha256.js';

const ENCODER = new TextEncoder();
const ALL = 2n ** 64n;

/**
 * Draws `n` places of a population, in the order they are drawn; all of them if there are no more.
 * @param {number} population how many entries of one kind are in the range
 * @param {number} n
 * @param {Uint8Array} root of the checkpoint
 * @param {string} nonce a word of the auditor's, said after the checkpoint was signed
 * @returns {{seed: string, drawn: number[]}}
 */
export function sample(population, n, root, nonce) {
  const seed = sha256(ENCODER.encode('stint/sample/v1\n'), root, ENCODER.encode(nonce));
  const size = BigInt(population);
  const drawn = new Set();
  for (let i = 0n; drawn.size < Math.min(n, population); i++) {
    const draw = first64(sha256(seed, bytes64(i)));
    // Above the largest multiple of the population some places would come up more often than others.
    if (draw < ALL - (ALL % size)) drawn.add(Number(draw % size));
  }
  return { seed: toBase64Url(seed), drawn: [...drawn] };
}

function first64(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
}

function bytes64(value) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}
