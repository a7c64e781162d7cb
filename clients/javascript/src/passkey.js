// Passkeys (WebAuthn Level 3): whether one signed what it is said to have signed. One form of everything is accepted, as in
// the broker: the page itself, the person present and verified, a key of one of three algorithms.

import { equal, fromBase64Url, toBase64Url } from './base64.js';
import { canonical } from './canonical.js';
import { isCborMap } from './cbor.js';
import { verifyEd25519 } from './ed25519.js';
import { JsonError, parseWithTwins } from './json.js';
import { HASH, sha256 } from './sha256.js';

/** Longest client data and longest authenticator data, bytes. */
const MAX_PART = 4_096;
const ORIGIN = /^https?:\/\/([a-z0-9.-]+)(?::[0-9]+)?$/;

/** Flags of authenticator data (WebAuthn §6.1). */
const USER_PRESENT = 1;
const USER_VERIFIED = 1 << 2;
const BACKUP_ELIGIBLE = 1 << 3;
const BACKED_UP = 1 << 4;
const ATTESTED = 1 << 6;
const EXTENDED = 1 << 7;
/** Hash of the relying party, flags, counter. */
const SHORTEST = 37;

const ENCODER = new TextEncoder();

/** Why an assertion does not count; the message says it. */
export class PasskeyError extends Error {}

/** This platform cannot check signatures of this algorithm. */
export class NoCrypto extends Error {}

/** @typedef {import('./json.js').Value} Value */

/**
 * A public key: its JWK, and the bytes of its members.
 * @typedef {object} PublicKey
 * @property {'EC' | 'OKP' | 'RSA'} type
 * @property {Record<string, string>} jwk
 * @property {string} thumbprint RFC 7638
 */

/**
 * Reads a public JWK with the members of its thumbprint and no other; `null` if it is none.
 * @param {Value | undefined} jwk
 * @returns {PublicKey | null}
 */
export function publicKey(jwk) {
  if (!(jwk instanceof Map)) return null;
  const bytes = (name) => (typeof jwk.get(name) === 'string' ? fromBase64Url(jwk.get(name)) : null);
  const is32 = (name) => bytes(name)?.length === 32;
  const type = jwk.get('kty');
  const good = {
    EC: () => jwk.size === 4 && jwk.get('crv') === 'P-256' && is32('x') && is32('y'),
    OKP: () => jwk.size === 3 && jwk.get('crv') === 'Ed25519' && is32('x'),
    RSA: () => jwk.size === 3 && jwk.get('e') === 'AQAB' && isModulus(bytes('n')),
  };
  if (typeof type !== 'string' || !Object.hasOwn(good, type) || !good[type]()) return null;
  const thumbprint = toBase64Url(sha256(ENCODER.encode(canonical(jwk))));
  return { type, jwk: Object.fromEntries(jwk), thumbprint };
}

/** 2048 to 4096 bits, without zeros in front, odd. */
function isModulus(n) {
  if (n === null || n.length < 256 || n.length > 512) return false;
  return n[0] >= (n.length === 256 ? 0x80 : 1) && n.at(-1) % 2 === 1;
}

/**
 * The relying party of an origin: its host. `undefined` if it is no origin.
 * @param {string} origin
 * @returns {string | undefined}
 */
export function hostOf(origin) {
  return ORIGIN.exec(origin)?.[1];
}

/**
 * The hash of a text that may be as long as a body, where only its equals are asked for.
 * @param {string} text
 */
export function brief(text) {
  return toBase64Url(sha256(ENCODER.encode(text)));
}

/**
 * What a vote is signed over.
 * @param {Uint8Array} nonce
 * @param {Map<string, Value>} facts
 */
export function challengeOf(nonce, facts) {
  return sha256(ENCODER.encode('stint/vote/v1\n'), nonce, ENCODER.encode(canonical(facts)));
}

/**
 * Reads an assertion: four texts, base64url. `null` if it is none.
 * @param {Value | undefined} value
 * @returns {{credential: Uint8Array, authenticatorData: Uint8Array, clientData: Uint8Array, signature: Uint8Array} | null}
 */
export function assertionOf(value) {
  if (!(value instanceof Map) || value.size !== 4) return null;
  const names = ['credential', 'authenticator_data', 'client_data', 'signature'];
  const parts = names.map((name) => (typeof value.get(name) === 'string' ? fromBase64Url(value.get(name)) : null));
  if (parts.includes(null)) return null;
  const [credential, authenticatorData, clientData, signature] = parts;
  return { credential, authenticatorData, clientData, signature };
}

/**
 * @param {NonNullable<ReturnType<typeof assertionOf>>} assertion
 * @param {PublicKey} key
 * @param {{rp: string, origin: string, challenge: Uint8Array}} expected
 * @throws {PasskeyError} if it does not hold
 * @throws {NoCrypto}
 */
export async function checkAssertion({ authenticatorData, clientData, signature }, key, expected) {
  checkClientData(clientData, expected);
  checkAuthenticatorData(authenticatorData, expected.rp);
  const message = new Uint8Array(authenticatorData.length + HASH);
  message.set(authenticatorData);
  message.set(sha256(clientData), authenticatorData.length);
  if (!(await verifies(key, message, signature))) throw new PasskeyError('the signature is false');
}

/** JSON of the browser's own spelling: read, not linted; a member that is there twice has no reading. */
function checkClientData(bytes, { origin, challenge }) {
  const members = clientData(bytes);
  const [type, over, on] = ['type', 'challenge', 'origin'].map((name) => members.get(name));
  if (![type, over, on].every((text) => typeof text === 'string')) throw new PasskeyError('the client data has not its form');
  if (type !== 'webauthn.get') throw new PasskeyError('made for another ceremony');
  if (over !== toBase64Url(challenge)) throw new PasskeyError('signed over another challenge');
  if (on !== origin) throw new PasskeyError('made on a page of another origin');
  const framed = members.has('crossOrigin') ? members.get('crossOrigin') : false;
  if (framed === true) throw new PasskeyError('made in a frame of another page');
  if (framed !== false) throw new PasskeyError('the client data has not its form');
  if (members.has('topOrigin')) throw new PasskeyError('made in a frame: it names a top origin');
}

function clientData(bytes) {
  if (bytes.length <= MAX_PART) {
    try {
      const { value, twins } = parseWithTwins(bytes);
      if (value instanceof Map && twins.size === 0) return value;
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
    }
  }
  throw new PasskeyError('the client data has not its form');
}

function checkAuthenticatorData(bytes, rp) {
  if (bytes.length < SHORTEST || bytes.length > MAX_PART) throw new PasskeyError('the authenticator data has not its form');
  const flags = bytes[HASH];
  const has = (flag) => (flags & flag) !== 0;
  if (!equal(bytes.subarray(0, HASH), sha256(ENCODER.encode(rp)))) throw new PasskeyError('made for another relying party');
  if (!has(USER_PRESENT)) throw new PasskeyError('nobody was present');
  if (!has(USER_VERIFIED)) throw new PasskeyError('the person was not verified');
  if (has(BACKED_UP) && !has(BACKUP_ELIGIBLE)) throw new PasskeyError('synced, and not to be synced');
  const rest = bytes.subarray(SHORTEST);
  const good = !has(ATTESTED) && (has(EXTENDED) ? isCborMap(rest) : rest.length === 0);
  if (!good) throw new PasskeyError('the authenticator data has not its form');
}

/** Ed25519 is our own (ed25519.js says why); the others are the platform's, which answers later. */
async function verifies({ type, jwk }, message, signature) {
  if (type === 'OKP') return verifyEd25519(fromBase64Url(jwk.x), message, signature);
  const subtle = globalThis.crypto?.subtle;
  if (subtle === undefined) throw new NoCrypto('no WebCrypto is at hand to check its signature');
  const hash = 'SHA-256';
  const algorithm = type === 'EC' ? { name: 'ECDSA', namedCurve: 'P-256', hash } : { name: 'RSASSA-PKCS1-v1_5', hash };
  const bare = type === 'EC' ? fromDer(signature) : signature;
  if (bare === null) return false;
  try {
    const key = await subtle.importKey('jwk', { ...jwk, ext: true }, algorithm, false, ['verify']);
    return await subtle.verify(algorithm, key, bare, message);
  } catch (error) {
    // A point that is not on the curve is no key, and signs nothing.
    if (error instanceof DOMException) return false;
    throw error;
  }
}

/** r ‖ s of `SEQUENCE { r INTEGER, s INTEGER }` (X.690, DER), 32 bytes each; `null` if it is another encoding. */
function fromDer(bytes) {
  if (bytes.length < 2 || bytes[0] !== 0x30 || bytes[1] !== bytes.length - 2 || bytes[1] > 0x7f) return null;
  const out = new Uint8Array(64);
  let at = 2;
  for (const end of [32, 64]) {
    const length = bytes[at + 1];
    const number = bytes.subarray(at + 2, at + 2 + length);
    if (bytes[at] !== 0x02 || !(length >= 1 && length <= 33) || number.length !== length) return null;
    const padded = number[0] === 0;
    // Not negative, and no zero in front but the one that says so.
    if (number[0] > 0x7f || (padded && !(number[1] > 0x7f)) || (length === 33 && !padded)) return null;
    const bare = padded ? number.subarray(1) : number;
    out.set(bare, end - bare.length);
    at += 2 + length;
  }
  return at === bytes.length ? out : null;
}
