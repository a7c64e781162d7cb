// The Merkle tree of RFC 6962 §2.1: hashes, the growing right edge, and the two proofs of RFC 9162 §2.1.3.2 and §2.1.4.2
// (LEDGER.md §13). Sizes are numbers up to 2^53 - 1; where they are shifted they are bigints.

import { equal } from './base64.js';
import { HASH, Sha256, sha256 } from './sha256.js';

const LEAF = 0x00;
const NODE = 0x01;
/** A tree of up to 2^53 - 1 leaves has so many perfect subtrees at its edge at most. */
const MAX_EDGE = 53;

const hasher = new Sha256();

/**
 * SHA-256(0x00 ‖ bytes).
 * @param {Uint8Array} bytes
 */
export function leafHash(bytes) {
  return hasher.reset().byte(LEAF).update(bytes).finish();
}

/**
 * SHA-256(0x01 ‖ left ‖ right).
 * @param {Uint8Array} left
 * @param {Uint8Array} right
 */
export function nodeHash(left, right) {
  return hasher.reset().byte(NODE).update(left).update(right).finish();
}

/** The right edge of a tree: the roots of its perfect subtrees, largest first, one for each bit set in `size`. */
export class Frontier {
  /**
   * @param {number} size
   * @param {Uint8Array[]} nodes as many as `size` has bits set
   */
  constructor(size = 0, nodes = []) {
    this.size = size;
    this.edge = new Uint8Array(HASH * (MAX_EDGE + 1));
    this.length = nodes.length;
    nodes.forEach((node, i) => this.edge.set(node, HASH * i));
  }

  /** The nodes, largest subtree first. */
  nodes() {
    return Array.from({ length: this.length }, (_, i) => this.edge.slice(HASH * i, HASH * (i + 1)));
  }

  /**
   * Adds one leaf hash. A node with a brother to its left goes up with it, as often as the size has low bits set.
   * @param {Uint8Array} leaf
   */
  push(leaf) {
    const { edge } = this;
    edge.set(leaf, HASH * this.length);
    this.length += 1;
    for (let left = this.size; left % 2 === 1; left = (left - 1) / 2) {
      const at = HASH * (this.length - 2);
      hasher.reset().byte(NODE).update(edge, at, at + 2 * HASH).finish(edge, at);
      this.length -= 1;
    }
    this.size += 1;
  }

  /** The root of the tree; SHA-256 of nothing for an empty one. */
  root() {
    const nodes = this.nodes();
    return nodes.length === 0 ? sha256() : nodes.reduceRight((right, left) => nodeHash(left, right));
  }
}

/**
 * How many nodes the edge of a tree of `size` has.
 * @param {number} size
 */
export function edgeLength(size) {
  return [...size.toString(2)].filter((bit) => bit === '1').length;
}

/**
 * Whether `leaf` is entry `index` of the tree of `size` leaves with `root`.
 * @param {Uint8Array} leaf
 * @param {number | bigint} index
 * @param {number} size
 * @param {Uint8Array[]} path sibling hashes, leaf to root
 * @param {Uint8Array} root
 */
export function verifyInclusion(leaf, index, size, path, root) {
  if (index >= size) return false;
  let fn = BigInt(index);
  let sn = BigInt(size) - 1n;
  let hash = leaf;
  for (const sibling of path) {
    if (sn === 0n) return false;
    if ((fn & 1n) === 1n || fn === sn) {
      hash = nodeHash(sibling, hash);
      while ((fn & 1n) === 0n && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  return sn === 0n && equal(hash, root);
}

/**
 * Whether the tree of `n` leaves with `root2` extends that of `m` with `root1`. Size 0 is refused: first contact proves
 * nothing, and callers treat it apart.
 * @param {number} m
 * @param {Uint8Array} root1
 * @param {number} n
 * @param {Uint8Array} root2
 * @param {Uint8Array[]} proof
 */
export function verifyConsistency(m, root1, n, root2, proof) {
  if (m === 0 || m > n) return false;
  if (m === n) return proof.length === 0 && equal(root1, root2);
  const first = BigInt(m);
  const path = (first & (first - 1n)) === 0n ? [root1, ...proof] : proof;
  if (path.length === 0) return false;
  let fn = first - 1n;
  let sn = BigInt(n) - 1n;
  while ((fn & 1n) === 1n) [fn, sn] = [fn >> 1n, sn >> 1n];
  let fr = path[0];
  let sr = path[0];
  for (const node of path.slice(1)) {
    if (sn === 0n) return false;
    if ((fn & 1n) === 1n || fn === sn) {
      fr = nodeHash(node, fr);
      sr = nodeHash(node, sr);
      while ((fn & 1n) === 0n && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      sr = nodeHash(sr, node);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  return sn === 0n && equal(fr, root1) && equal(sr, root2);
}
