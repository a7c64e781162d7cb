// The bytes of a credential that were signed, by which its grant is found in the log (LEDGER.md §6).

import { fromBase64 } from './base64.js';
import { sha256 } from './sha256.js';

const ENCODER = new TextEncoder();
const SEQUENCE = 0x30;

/** A text that is neither a certificate nor a JWT. */
export class CredentialError extends Error {
  constructor() {
    super('this is neither a certificate (PEM) nor a JWT');
  }
}

/**
 * SHA-256 of what was signed: the TBSCertificate of the first certificate of a PEM, the signing input of a JWT.
 * @param {string} text
 * @returns {Uint8Array}
 * @throws {CredentialError}
 */
export function signedBytes(text) {
  const pem = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/.exec(text);
  if (pem) {
    const der = fromBase64(pem[1].replace(/\s/g, ''));
    const certificate = der && element(der, 0);
    const tbs = certificate && element(der, certificate.start);
    if (!tbs) throw new CredentialError();
    return sha256(der.subarray(certificate.start, tbs.end));
  }
  const jwt = /^([A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)\.[A-Za-z0-9_-]*$/.exec(text.trim());
  if (!jwt) throw new CredentialError();
  return sha256(ENCODER.encode(jwt[1]));
}

/** A DER SEQUENCE at `at`: where its content begins and ends. */
function element(der, at) {
  if (der[at] !== SEQUENCE) return null;
  let start = at + 2;
  let length = der[at + 1];
  if (length > 0x80) {
    const bytes = length - 0x80;
    if (bytes > 4) return null;
    length = der.subarray(start, start + bytes).reduce((sum, byte) => sum * 256 + byte, 0);
    start += bytes;
  }
  return start + length <= der.length ? { start, end: start + length } : null;
}
